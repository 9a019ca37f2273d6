//! Certificates that change while a sidecar runs, as Kubernetes changes them.

use std::sync::Arc;

use super::{certificates::Mount, *};
use crate::suite::support::{self, wait_for, wait_until};

/// New files apply to new connections. Files that cannot be used change nothing.
#[tokio::test]
async fn new_files_apply_to_new_connections_only() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let [first, second] = [Authority::new(), Authority::new()];
    let files = |server: &Pair, key: &str, clients: &Authority| {
        [("tls.crt", server.certificate.clone()), ("tls.key", key.to_owned()), ("ca.crt", clients.pem.clone())]
    };
    let borrowed = |files: &[(&'static str, String); 3]| files.clone().map(|(name, text)| (name, text.leak() as &str));
    let old = first.server();
    let mut mount = Mount::new(directory.path(), &borrowed(&files(&old, &old.key, &first)));
    let [certificate, key, authority] = ["tls.crt", "tls.key", "ca.crt"].map(|name| mount.path(name));
    let sidecar = support::sidecar::Sidecar::start_in(
        &directory,
        &[
            "--store=memory",
            "--listen=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--listen-tls-certificate",
            &certificate,
            "--listen-tls-key",
            &key,
            "--listen-tls-client-ca",
            &authority,
            "--admin-tls-certificate",
            &certificate,
            "--admin-tls-key",
            &key,
            "--admin-tls-client-ca",
            &authority,
        ],
    );
    let of_first = |trusted: &Authority| channel(sidecar.data(), &trusted.pem, Some(&first.client("a.example")));
    let of_second = |trusted: &Authority| channel(sidecar.data(), &trusted.pem, Some(&second.client("a.example")));
    let open = of_first(&first);
    reserve_for(open.clone(), "demo-pro").await.unwrap();
    fails_to_connect(reserve_for(of_second(&first), "demo-pro").await, "a client of the second authority, too early");

    let mut no_authority = Authority::new();
    no_authority.pem = "x".to_owned();
    // A key of another certificate, no certificate, and an invalid authority: each is refused and logged.
    let new = second.server();
    let broken = [
        (files(&new, &old.key, &second), "tls.key, which listen_tls_key names, is not the key of the certificate"),
        (files(&Pair { certificate: String::new(), ..new.clone() }, &new.key, &second), "has no certificate in PEM"),
        (files(&new, &new.key, &no_authority), "listen_tls_client_ca"),
    ];
    for (files, says) in &broken {
        mount.swap(&borrowed(files));
        wait_until("the log says what is wrong", || sidecar.stderr().contains(says));
        reserve_for(of_first(&first), "demo-pro").await.unwrap();
    }

    mount.swap(&borrowed(&files(&new, &new.key, &second)));
    wait_for("a client of the second authority to be accepted with the new certificate", || {
        let client = of_second(&second);
        async move { reserve_for(client, "demo-pro").await.ok() }
    })
    .await;
    let admin = |of: &Authority| channel(sidecar.admin(), &second.pem, Some(&of.client("a.example")));
    wait_for("the admin listener to show the new certificate", || {
        let client = admin(&second);
        async move { list_teams(client, None).await.ok() }
    })
    .await;
    fails_to_connect(list_teams(admin(&first), None).await, "a client of the first authority, at the admin listener");
    fails_to_connect(reserve_for(of_second(&first), "demo-pro").await, "a client that trusts the first authority");
    fails_to_connect(reserve_for(of_first(&second), "demo-pro").await, "a client of the first authority, too late");
    reserve_for(open, "demo-pro").await.unwrap();
}
