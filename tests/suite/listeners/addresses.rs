//! Where a sidecar listens, and who can reach it there.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use tollgate::store::StoreLocation;

use crate::suite::support::sidecar::{Sidecar, tollgate};

#[test]
fn an_admin_listener_that_other_machines_could_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:50052"] {
        let output = tollgate(&["serve", "--store=memory", "--listen=127.0.0.1:0", "--admin", address]);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{address}: {sentence}");
        assert!(sentence.contains(address) && sentence.contains("needs TLS and a token"), "{sentence}");
        assert!(sentence.contains("unix:/path"), "it says what to do: {sentence}");
    }
}

#[test]
fn a_data_listener_that_other_machines_can_reach_comes_with_a_warning() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let warned = |listen: &str| {
        let arguments = ["--store=memory", "--listen", listen, "--admin=127.0.0.1:0"];
        Sidecar::start_in(&directory, &arguments).stderr().contains("and there is no TLS")
    };
    assert!(!warned("127.0.0.1:0"));
    assert!(warned("0.0.0.0:0"));
}

#[test]
fn a_path_too_long_for_a_socket_is_told_as_such() {
    let address = format!("unix:/{}", "s".repeat(107));
    let output = tollgate(&["serve", "--store=memory", "--listen", &address, "--admin=127.0.0.1:0"]);
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{sentence}");
    assert!(sentence.contains("107 bytes"), "{sentence}");
}

#[test]
fn a_crash_leaves_nothing_that_keeps_a_sidecar_from_its_sockets() {
    let mut sidecar = Sidecar::start(&StoreLocation::Memory);
    let path = |address: &str| std::path::PathBuf::from(address.strip_prefix("unix:").unwrap());
    let data = path(sidecar.data());
    let entries = || {
        let entries = fs::read_dir(data.parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let usual = ["admin", "admin.lock", "data", "data.lock", "stderr", "stdout"];
    assert_eq!(entries(), usual);
    for _ in 0..3 {
        sidecar.kill();
        sidecar.restart();
        assert_eq!(entries(), usual);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Another one, meanwhile, is refused, and takes nothing away.
    let listen = format!("unix:{}", data.display());
    let output = tollgate(&["serve", "--store=memory", "--listen", &listen, "--admin=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(entries(), usual);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = {
        let _context = runtime.enter();
        sidecar.client()
    };
    runtime.block_on(client.put_team(crate::suite::support::client::team_without_seat("team", 1)));
}
