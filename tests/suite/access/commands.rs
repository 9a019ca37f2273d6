//! Tollgate's own commands as clients of listeners with access control.

use std::process::{Command, Output};

use super::{grpcurl::guarded, *};
use crate::suite::support::sidecar::run;

/// Runs a command in this directory.
fn tollgate_in(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("env");
    command.arg("-C").arg(directory.path()).arg(env!("CARGO_BIN_EXE_tollgate")).args(arguments);
    run(command.envs(variables.iter().copied()))
}

const TLS: [&str; 6] = ["--tls-ca", "ca.pem", "--tls-certificate", "client.pem", "--tls-key", "client.key"];

#[test]
fn commands_send_their_certificate_and_token() {
    let (sidecar, directory) = guarded();
    let admin = ["--admin", sidecar.admin()];
    let text = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = tollgate_in(&directory, arguments, variables);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let with_file = [&TLS[..], &admin, &["--token-file", "token"]].concat();
    text(&[&["team", "put", "acme", "--plan", "free"], &with_file[..]].concat(), &[]);
    let audit = text(&[&["audit", "acme"], &with_file[..]].concat(), &[]);
    assert!(audit.contains("name=operator.example"), "{audit}");
    // The sidecar's own setting names the token file for commands as well.
    let by_variable = text(&[&["team", "list"], &TLS[..], &admin].concat(), &[("TOLLGATE_ADMIN_TOKEN_FILE", "token")]);
    assert!(by_variable.contains("acme"), "{by_variable}");
    // Health checks need no token.
    assert_eq!(text(&[&["probe"], &TLS[..], &admin].concat(), &[]), "SERVING\n");
    assert_eq!(text(&[&["probe", "--data", sidecar.data()], &TLS[..]].concat(), &[]), "SERVING\n");
    // The name in a certificate does not need to be the address.
    let by_name = [&TLS[..], &admin, &["--tls-name", "localhost", "--token-file", "token"]].concat();
    text(&[&["team", "list"], &by_name[..]].concat(), &[]);

    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/azure_llm_2023_code_excerpt.csv");
    let replay = ["replay", trace, "--addr", sidecar.data(), "--teams", "2", "--plan", "free"];
    let replayed = text(&[&replay, &with_file[..]].concat(), &[]);
    assert!(replayed.contains("The books agree"), "{replayed}");
}

/// A command that the sidecar refuses says which certificate or token is missing or wrong.
#[test]
fn a_refused_command_says_what_is_missing() {
    let (sidecar, directory) = guarded();
    std::fs::write(directory.path().join("wrong"), "x").unwrap();
    std::fs::write(directory.path().join("empty"), "\n").unwrap();
    let admin = ["--admin", sidecar.admin()];
    let trust = ["--tls-ca", "ca.pem"];
    for (flags, code, says) in [
        (&TLS[..], 77, "TOKEN_MISSING); name the file that holds it with --token-file"),
        (&[&TLS[..], &["--token-file", "wrong"]].concat(), 77, "TOKEN_WRONG"),
        (&[&TLS[..], &["--token-file", "empty"]].concat(), 78, "the token file empty must hold exactly one word"),
        (&[&TLS[..], &["--token-file", "absent"]].concat(), 66, "cannot read the file absent of --token-file"),
        (&["--tls-ca", "absent"], 66, "cannot read the file absent of --tls-ca"),
        (&["--tls-ca", "foreign.pem"], 77, "failed: invalid peer certificate"),
        (&[&trust[..], &["--tls-name", "other.example"]].concat(), 77, "TLS with the sidecar"),
        (&[], 69, "if it uses TLS, name the trusted certificate authorities with --tls-ca"),
        (&["--tls-certificate", "client.pem"], 64, "--tls-key"),
    ] {
        let output = tollgate_in(&directory, &[&["team", "list"], &admin[..], flags].concat(), &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {error}");
        assert!(error.contains(says) && !error.contains(TOKEN), "{flags:?}: {error}");
    }
    // In TLS 1.3 a client may learn that a certificate was required, or only that the connection ended.
    for _ in 0..5 {
        let output = tollgate_in(&directory, &[&["team", "list"], &admin[..], &trust].concat(), &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(69 | 77)) && error.contains("--tls-certificate"), "{error}");
    }
}
