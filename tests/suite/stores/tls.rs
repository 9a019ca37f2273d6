//! A Redis server with TLS, whose certificate is from a private authority.

use std::{fs, process::Command};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tollgate::{
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Key, Outcome, Read, Scope, Transaction, Write},
};

use crate::suite::support::{
    STORE_WAIT,
    servers::{Engine, Server},
};

/// Environment variable with the URL of the server, set for the child process of the test below.
const CHILD_URL: &str = "TOLLGATE_TEST_TLS_URL";

/// The trusted authorities are read from the environment, once for each process, and a process must not change its own
/// environment. So the test runs itself as a child process with another environment, once for each case. A server
/// behind TLS is used only if its certificate is of a trusted authority and for its host name.
///
#[tokio::test]
async fn tls_requires_a_trusted_certificate() {
    if let Ok(url) = std::env::var(CHILD_URL) {
        return use_server(&url).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    write_certificates(&path);
    let (authority, certificate, key) = (path("authority.pem"), path("server.pem"), path("server.key"));
    let server = Server::start_on_port(
        Engine::Redis,
        &[
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "no",
        ],
    );
    let child = |host: &str, trusted: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "suite::stores::tls::tls_requires_a_trusted_certificate"])
            .env(CHILD_URL, format!("rediss://{host}:{}", server.port()))
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap()
    };
    let trusted = child("localhost", &authority);
    let output = String::from_utf8_lossy(&trusted.stdout);
    assert!(trusted.status.success() && output.contains("1 passed"), "{output}");
    // Neither another authority nor another host name is accepted.
    assert!(!child("localhost", &path("foreign.pem")).status.success());
    assert!(!child("127.0.0.1", &authority).status.success());
}

async fn use_server(url: &str) {
    let location: StoreLocation = url.parse().unwrap();
    let store = Store::open(&location, StoreOptions { wait: STORE_WAIT, ..StoreOptions::default() }).await.unwrap();
    let mut step = Transaction::on(Scope::new("acme"));
    let record = step.record(Key::packed("p"), Read::Nothing);
    step.option(vec![], vec![Write::Put(record, vec!["x".into()], None)]);
    assert_eq!(store.transact(step).await.unwrap().outcome, Outcome::Applied { option: 0 });
}

/// Writes the certificates of two authorities, and a certificate for localhost from the first.
fn write_certificates(path: &dyn Fn(&str) -> String) {
    let authority = || {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    let (pem, issuer) = authority();
    fs::write(path("authority.pem"), pem).unwrap();
    fs::write(path("foreign.pem"), authority().0).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(path("server.pem"), certificate.pem()).unwrap();
    fs::write(path("server.key"), key.serialize_pem()).unwrap();
}
