//! grpcurl as a client from outside this project.

use std::{path::Path, process::Command, sync::Arc};

use super::{certificates::Authority, *};
use crate::suite::support::{
    sidecar::{self, run},
    tool,
};

/// Starts a sidecar whose listeners require client certificates, and whose admin listener requires a token. Returns it with the
/// directory of its files.
pub(crate) fn guarded() -> (sidecar::Sidecar, Arc<TempDir>) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    write(directory.path());
    let arguments = [
        "--store=memory",
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        "--listen-tls-certificate=server.pem",
        "--listen-tls-key=server.key",
        "--listen-tls-client-ca=ca.pem",
        "--admin-tls-certificate=server.pem",
        "--admin-tls-key=server.key",
        "--admin-tls-client-ca=ca.pem",
        "--admin-token-file=token",
    ];
    (sidecar::Sidecar::start_in(&directory, &arguments), directory)
}

/// Writes the certificates of a server and a client, another authority with a client of its own, and a token.
pub(super) fn write(directory: &Path) {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let stranger = foreign.client("operator.example");
    let (server, client) = (authority.server(), authority.client("operator.example"));
    for (name, contents) in [
        ("ca.pem", &authority.pem),
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("client.pem", &client.certificate),
        ("client.key", &client.key),
        ("foreign.pem", &foreign.pem),
        ("stranger.pem", &stranger.certificate),
        ("stranger.key", &stranger.key),
        ("token", &TOKEN.to_owned()),
    ] {
        std::fs::write(directory.join(name), contents).unwrap();
    }
}

/// Runs grpcurl. Returns whether it succeeded, and its output.
fn grpcurl(directory: &TempDir, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("env");
    command.arg("-C").arg(directory.path()).arg(tool("grpcurl")).args(arguments);
    let output = run(&mut command);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// grpcurl can call both listeners with the right certificate and token, and not without them.
#[test]
fn grpcurl_needs_the_right_certificate_and_token() {
    let (sidecar, directory) = guarded();
    let trusted = ["-cacert", "ca.pem"];
    let own = [&trusted[..], &["-cert", "client.pem", "-key", "client.key"]].concat();
    let token = format!("authorization: Bearer {TOKEN}");
    let reserve = [
        "-d",
        r#"{"team_id":"demo-pro","flow_id":"f","run_id":"r","block_id":"b","model":"gpt-4o"}"#,
        sidecar.data(),
        "tollgate.v1.QuotaService/CheckAndReserve",
    ];
    let list = [sidecar.admin(), "tollgate.v1.AccountService/ListTeams"];

    let (done, said) = grpcurl(&directory, &[&own[..], &reserve].concat());
    assert!(done && said.contains("\"proceed\""), "{said}");
    let (done, said) = grpcurl(&directory, &[&own[..], &["-H", &token], &list].concat());
    assert!(done && said.contains("demo-pro"), "{said}");

    let foreign = ["-cacert", "foreign.pem", "-cert", "client.pem", "-key", "client.key"];
    for (flags, says) in
        [(&trusted[..], "Failed to dial"), (&foreign, "unknown authority"), (&["-plaintext"], "Failed to dial")]
    {
        let (done, said) = grpcurl(&directory, &[flags, &["-max-time=5"], &reserve].concat());
        assert!(!done && said.contains(says), "{flags:?}: {said}");
    }
    for (flags, says) in [(&[][..], "Unauthenticated"), (&["-H", "authorization: Bearer x"], "Unauthenticated")] {
        // grpcurl calls reflection first, which needs the token as well.
        let (done, said) = grpcurl(&directory, &[&own[..], flags, &list].concat());
        assert!(!done && said.contains(says), "{flags:?}: {said}");
    }
}

#[test]
fn the_banner_shows_what_clients_need() {
    let (sidecar, _directory) = guarded();
    let shown = sidecar.stdout();
    assert!(shown.contains("(QuotaService; TLS with a certificate of the client)"), "{shown}");
    assert!(shown.contains("-cacert CA.pem -cert CLIENT.pem -key CLIENT.key -d"), "{shown}");
    assert!(shown.contains("Bearer $(cat 'token')") && !shown.contains("-plaintext"), "{shown}");
}
