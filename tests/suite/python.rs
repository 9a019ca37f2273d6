//! The examples in Python, with grpcio and reflection, over every kind of connection.

use std::{path::Path, process::Command, sync::Arc};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tollgate::store::StoreLocation;

use crate::suite::{
    access::{TOKEN, grpcurl::guarded},
    support::{
        sidecar::{Sidecar, run},
        tool,
    },
};

const TEAM: &str = "demo-pro";

/// Arguments of a client with the right certificate.
const OWN: [&str; 6] = ["--ca", "ca.pem", "--certificate", "client.pem", "--key", "client.key"];

/// Runs an example, checks its exit code, and returns the results that it printed with their names.
#[track_caller]
fn python(program: &str, directory: &TempDir, arguments: &[&str], code: i32) -> Vec<(String, Value)> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(program);
    let mut command = Command::new("env");
    command.arg("-C").arg(directory.path()).arg(tool("python3")).arg("-B").arg(program).args(arguments);
    let output = run(&mut command);
    let (stdout, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    eprint!("{error}");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}");
    let line = |line| serde_json::from_str::<Map<_, _>>(line).unwrap().into_iter().next().unwrap();
    stdout.lines().map(line).collect()
}

/// Checks that an executor with these flags gets every answer, and is charged once.
#[track_caller]
fn reserves_and_commits(target: &str, directory: &TempDir, flags: &[&str]) {
    let results = python("executor.py", directory, &[&[target, TEAM], flags].concat(), 0);
    let (names, values): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let expected = ["health", "watched", "services", "BeginRun", "CheckAndReserve", "Commit", "Commit", "EndRun"];
    assert_eq!(names, expected, "{values:?}");
    let [health, watched, services, begun, reserved, committed, repeated, ended] = values.try_into().unwrap();

    assert_eq!(health, json!({"": "SERVING", "readiness": "SERVING", "tollgate.v1.QuotaService": "SERVING"}));
    assert_eq!(watched, "SERVING");
    assert!(services.as_array().unwrap().contains(&json!("tollgate.v1.QuotaService")), "{services}");
    assert!(begun["admitted"]["expires_at"].is_string(), "{begun}");
    let proceed = &reserved["proceed"];
    assert_eq!([&proceed["credits"], &proceed["state"]], ["2", "RESERVATION_STATE_OPEN"], "{reserved}");
    assert!(["reservation_id", "grant"].iter().all(|name| proceed[name].is_string()), "{reserved}");
    assert_eq!(reserved["balance"]["held"], "2", "{reserved}");
    assert_eq!([&committed["credits"], &committed["balance"]["used"]], ["2", "2"], "{committed}");
    assert_eq!(committed["replayed"], Value::Null, "{committed}");
    let mut replayed = committed;
    replayed["replayed"] = json!(true);
    assert_eq!(repeated, replayed);
    assert_eq!(ended, json!({"credits": "2"}));
}

#[test]
fn a_python_executor_reserves_and_commits_over_tcp() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let arguments = ["--store=memory", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
    let sidecar = Sidecar::start_in(&directory, &arguments);
    reserves_and_commits(sidecar.data(), &directory, &[]);
}

#[test]
fn a_python_executor_reserves_and_commits_over_a_unix_socket() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    assert!(sidecar.data().starts_with("unix:/"), "{}", sidecar.data());
    reserves_and_commits(sidecar.data(), &tempfile::tempdir().unwrap(), &[]);
}

#[test]
fn a_python_executor_reserves_and_commits_over_mtls() {
    let (sidecar, directory) = guarded();
    reserves_and_commits(sidecar.data(), &directory, &OWN);
}

#[test]
fn a_python_executor_without_access_gets_no_answer() {
    let (sidecar, directory) = guarded();
    let stranger = ["--ca", "ca.pem", "--certificate", "stranger.pem", "--key", "stranger.key"];
    let distrustful = ["--ca", "foreign.pem", "--certificate", "client.pem", "--key", "client.key"];
    for (who, flags, says) in [
        ("without a certificate", &OWN[..2], "failed to connect"),
        ("with one of another authority", &stranger, "failed to connect"),
        ("that trusts another authority", &distrustful, "Tls handshake failed"),
        ("in plaintext", &[], "failed to connect"),
    ] {
        let results = python("executor.py", &directory, &[&[sidecar.data(), TEAM], flags].concat(), 1);
        let [(name, refused)] = &results[..] else { panic!("{who}: {results:?}") };
        assert_eq!((name.as_str(), &refused["code"]), ("refused", &json!("UNAVAILABLE")), "{who}: {results:?}");
        assert!(refused["message"].as_str().unwrap().contains(says), "{who}: {results:?}");
    }
}

#[test]
fn a_python_billing_system_needs_the_right_token() {
    let (sidecar, directory) = guarded();
    let with = |flags: &[&str]| python("billing.py", &directory, &[&[sidecar.admin()], &OWN[..], flags].concat(), 0);
    for (flags, message) in [
        (&[][..], "this listener requires a token, as in `authorization: Bearer TOKEN`"),
        (&["--token", "x"], "the token is not valid for this listener"),
    ] {
        let refused = json!({"refused": {"code": "UNAUTHENTICATED", "message": message}});
        let expected = [("health", json!("SERVING")), ("services", refused.clone()), ("ListTeams", refused)];
        assert_eq!(with(flags), expected.map(|(name, value)| (name.to_owned(), value)), "{flags:?}");
    }
    let [(_, health), (_, services), (_, teams)] = &with(&["--token", TOKEN])[..] else { panic!() };
    assert_eq!(health, "SERVING");
    assert!(services.as_array().unwrap().contains(&json!("tollgate.v1.AccountService")), "{services}");
    assert_eq!(teams["teams"][2]["team_id"], TEAM, "{teams}");
}
