//! How a sidecar refuses to start with access settings or files that it cannot use.

use std::{process::Command, sync::Arc};

use super::*;
use crate::suite::support::sidecar::{self, run};

const LISTEN: [&str; 3] = ["serve", "--store=memory", "--listen=127.0.0.1:0"];

/// Runs the program with these arguments. Returns its exit code and error output.
fn refused(directory: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("env");
    command.arg("-C").arg(directory.path()).arg(env!("CARGO_BIN_EXE_tollgate")).args(LISTEN).args(arguments);
    let output = run(&mut command);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn unusable_files_are_named_with_the_problem() {
    let directory = tempfile::tempdir().unwrap();
    super::grpcurl::write(directory.path());
    std::fs::write(directory.path().join("empty"), " \n").unwrap();
    std::fs::write(directory.path().join("words"), "two words").unwrap();
    std::fs::write(directory.path().join("tollgate.toml"), "[clients]\n\"a.example\" = [\"acme\"]\n").unwrap();
    let no_file = tempfile::tempdir().unwrap();
    super::grpcurl::write(no_file.path());
    std::fs::copy(directory.path().join("empty"), no_file.path().join("empty")).unwrap();
    std::fs::copy(directory.path().join("words"), no_file.path().join("words")).unwrap();
    let pair = |certificate: &str, key: &str| {
        vec![format!("--listen-tls-certificate={certificate}"), format!("--listen-tls-key={key}")]
    };
    let with = |mut arguments: Vec<String>, more: &str| {
        arguments.push(more.to_owned());
        arguments
    };
    let admin = |arguments: &[&str]| arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (arguments, code, says) in [
        (pair("absent", "server.key"), 66, "the file absent, which listen_tls_certificate names, cannot be read"),
        (pair("empty", "server.key"), 78, "the file empty, which listen_tls_certificate names, has no certificate"),
        (pair("server.pem", "server.pem"), 78, "the file server.pem, which listen_tls_key names, has no private key"),
        (pair("server.pem", "client.key"), 78, "is not the key of the certificate in server.pem"),
        (
            with(pair("server.pem", "server.key"), "--listen-tls-client-ca=empty"),
            78,
            "listen_tls_client_ca names, has no",
        ),
        (pair("server.pem", "none"), 78, "listen_tls_certificate (--listen-tls-certificate): needs listen_tls_key too"),
        (admin(&["--admin-token-file=empty"]), 78, "the file empty, which admin_token_file names, is empty"),
        (admin(&["--admin-token-file=words"]), 78, "holds more than one word"),
        (admin(&["--admin=0.0.0.0:0", "--admin-token-file=token"]), 78, "needs TLS and a token"),
        (
            admin(&["--admin=0.0.0.0:0", "--admin-tls-certificate=server.pem", "--admin-tls-key=server.key"]),
            78,
            "needs TLS and a token",
        ),
        (
            admin(&["--admin=unix:s", "--admin-tls-certificate=server.pem", "--admin-tls-key=server.key"]),
            78,
            "admin_tls_certificate (--admin-tls-certificate): is for a listener on host:port, and unix:s is a socket",
        ),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (ended, said) = refused(&no_file, &arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says) && !said.contains(TOKEN) && !said.contains("BEGIN"), "{arguments:?}: {said}");
    }
    let (ended, said) = refused(&directory, &["--listen-tls-certificate=server.pem", "--listen-tls-key=server.key"]);
    assert!(ended == Some(78) && said.contains("clients: needs listen_tls_client_ca"), "{said}");
}

/// An admin listener with TLS and a token may be reached from other machines.
#[tokio::test]
async fn an_admin_listener_with_tls_and_a_token_may_be_public() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    super::grpcurl::write(directory.path());
    let arguments = [
        &LISTEN[..],
        &["--admin=0.0.0.0:0", "--admin-tls-certificate=server.pem", "--admin-tls-key=server.key"],
        &["--admin-token-file=token"],
    ];
    let sidecar = sidecar::Sidecar::start_in(&directory, &arguments.concat());
    let authority = std::fs::read_to_string(directory.path().join("ca.pem")).unwrap();
    let address = sidecar.admin().replace("0.0.0.0", "127.0.0.1");
    let admin = || channel(&address, &authority, None);
    check(&list_teams(admin(), None).await.unwrap_err(), Code::Unauthenticated, "TOKEN_MISSING");
    assert_eq!(list_teams(admin(), Some(&format!("Bearer {TOKEN}"))).await.unwrap(), 3);
}
