//! Exit codes and errors without a sidecar, without a store and at the wrong listener; the probe and the shell completions.

use std::{process::Command, sync::Arc};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tollgate::{clock::Clock, store::StoreLocation};
use tonic::transport::Server as Grpc;

use super::{command, fails, text};
use crate::suite::support::{
    servers::{Engine, Server},
    sidecar::{Sidecar, run, tollgate},
};

/// All commands that only read.
const READING: [&[&str]; 6] = [
    &["team", "list"],
    &["team", "get", "demo-pro"],
    &["rates", "list"],
    &["usage", "demo-pro"],
    &["charges"],
    &["audit"],
];

#[test]
fn an_absent_sidecar_is_reported_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("none").display());
    for address in ["127.0.0.1:1", &socket] {
        for arguments in READING.into_iter().chain([&["probe"][..]]) {
            let says = format!("no sidecar answers at {address}; is it running? name its admin listener with --admin");
            fails(&tollgate(&[arguments, &["--admin", address]].concat()), 69, &says);
        }
    }
    fails(&tollgate(&["probe", "--data", &socket]), 69, "name its data listener with --data");
}

#[test]
fn a_killed_sidecar_does_not_answer() {
    let mut sidecar = Sidecar::start(&StoreLocation::Memory);
    assert_eq!(text(&sidecar, &["probe"]), "SERVING\n");
    sidecar.kill();
    fails(&command(&sidecar, &["probe"]), 69, "no sidecar answers");
    fails(&command(&sidecar, &["team", "list"]), 69, "no sidecar answers");
}

/// A listener that accepts a connection and never answers times out.
#[tokio::test]
async fn a_silent_listener_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            taken.push(connection);
        }
    });
    let begun_ms = Clock::System.monotonic_ms();
    for arguments in [&["probe", "--admin", &address][..], &["team", "list", "--admin", &address]] {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let ending =
            tokio::task::spawn_blocking(move || tollgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        fails(&ending.await.unwrap(), 75, "did not answer within");
    }
    let took_ms = Clock::System.monotonic_ms() - begun_ms;
    assert!((7_000..17_000).contains(&took_ms), "the timeouts are 2 s and 5 s: {took_ms} ms");
    taking.abort();
}

#[test]
fn an_unavailable_store_is_a_temporary_failure() {
    let mut server = Server::start(Engine::Redis);
    let sidecar = Sidecar::start(&server.location());
    text(&sidecar, &["team", "put", "demo-pro", "--plan", "professional"]);
    server.kill();
    for arguments in READING {
        fails(&command(&sidecar, arguments), 75, "STORE_UNAVAILABLE");
    }
    fails(&command(&sidecar, &["team", "put", "demo-pro", "--seat"]), 75, "STORE_UNAVAILABLE");
}

/// If an operator's command calls the data listener by mistake, the error names the admin listener.
#[test]
fn calling_the_data_listener_names_the_admin_listener() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let says = "AccountService and UsageService are on the admin listener";
    fails(&tollgate(&["team", "list", "--admin", sidecar.data()]), 76, says);
}

#[test]
fn the_environment_can_name_the_admin_listener() {
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store", "memory"];
    let sidecar = Sidecar::start_in(&Arc::new(tempfile::tempdir().unwrap()), &ports);
    let named = |command: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        run(program.args(command.split(' ')).env("TOLLGATE_ADMIN", sidecar.admin()))
    };
    let list = named("team list");
    assert!(String::from_utf8(list.stdout).unwrap().ends_with("3 teams\n"));
    // The option takes precedence.
    fails(&named("team list --admin 127.0.0.1:1"), 69, "127.0.0.1:1");
    let probed = named(&format!("probe --data {}", sidecar.data()));
    assert_eq!((probed.status.code(), &probed.stdout[..]), (Some(0), &b"SERVING\n"[..]));
}

/// Colours appear in text for people, and never in JSON.
#[test]
fn json_output_has_no_colours() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let forced = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output = run(program.args(arguments).args(["--admin", sidecar.admin()]).env("CLICOLOR_FORCE", "1"));
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().contains('\x1b')
    };
    for (arguments, coloured) in READING.into_iter().zip([false, true, true, true, false, false]) {
        assert_eq!(forced(arguments), coloured, "{arguments:?}");
        assert!(!forced(&[arguments, &["--json"]].concat()), "{arguments:?}");
    }
}

#[test]
fn a_probe_can_name_a_service_and_a_listener() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    for service in ["tollgate.v1.AccountService", "tollgate.v1.UsageService"] {
        assert_eq!(text(&sidecar, &["probe", service]), "SERVING\n");
    }
    let on_data = tollgate(&["probe", "--data", sidecar.data(), "tollgate.v1.QuotaService", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&on_data.stdout).unwrap();
    let expected = serde_json::json!({
        "address": sidecar.data(), "service": "tollgate.v1.QuotaService", "status": "SERVING",
    });
    assert_eq!(answer, expected);
    fails(&command(&sidecar, &["probe", "tollgate.v1.QuotaService"]), 66, "has no service tollgate.v1.QuotaService");
}

#[tokio::test]
async fn a_probe_exits_with_1_if_not_serving() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let serving =
        tokio::spawn(Grpc::builder().add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
    for (option, shown) in [(None, "NOT_SERVING\n"), (Some("--json"), "\"status\": \"NOT_SERVING\"\n}\n")] {
        let address = address.clone();
        let probe = tokio::task::spawn_blocking(move || {
            tollgate(&["probe", "--admin", &address].into_iter().chain(option).collect::<Vec<_>>())
        });
        let output = probe.await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stdout).unwrap().ends_with(shown));
    }
    serving.abort();
}

#[test]
fn every_shell_has_completions_and_bash_parses_its_own() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(tollgate(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("overages") && script.contains("tollgate"), "{shell}");
    }
    let checked = super::bash(r#""$0" completions bash | bash -n"#, &[]);
    assert!(checked.status.success() && checked.stderr.is_empty());
    fails(&tollgate(&["completions", "tcsh"]), 64, "tcsh");
}
