//! Where a sidecar listens, and which machines can reach it.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use tollgate::store::StoreLocation;

use crate::suite::support::sidecar::{Sidecar, tollgate};

/// An admin listener that other machines could reach is refused without TLS and a token.
#[test]
fn a_public_admin_listener_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:50052"] {
        let output = tollgate(&["serve", "--store=memory", "--listen=127.0.0.1:0", "--admin", address]);
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{address}: {sentence}");
        assert!(sentence.contains(address) && sentence.contains("needs TLS and a token"), "{sentence}");
        assert!(sentence.contains("unix:/path"), "it says what to do: {sentence}");
    }
}

/// A data listener that other machines can reach without TLS causes a warning.
#[test]
fn a_public_data_listener_without_tls_is_warned_about() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let warned = |listen: &str| {
        let arguments = ["--store=memory", "--listen", listen, "--admin=127.0.0.1:0"];
        Sidecar::start_in(&directory, &arguments).stderr().contains("missing=\"TLS\"")
    };
    assert!(!warned("127.0.0.1:0"));
    assert!(warned("0.0.0.0:0"));
}

#[test]
fn a_socket_path_that_is_too_long_is_reported() {
    let address = format!("unix:/{}", "s".repeat(107));
    let output = tollgate(&["serve", "--store=memory", "--listen", &address, "--admin=127.0.0.1:0"]);
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{sentence}");
    assert!(sentence.contains("107 bytes"), "{sentence}");
}

/// What a crash leaves behind does not keep the next sidecar from its sockets.
#[test]
fn a_crash_leaves_no_sockets_in_the_way() {
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
    // A second sidecar on the same socket is refused, and removes no file.
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
