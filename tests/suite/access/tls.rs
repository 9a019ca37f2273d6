//! TLS handshakes: which clients complete them, which do not, and how long they may take.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tollgate::{clock::ManualClock, proto::v1::ListAuditEntriesRequest};
use tonic::transport::Endpoint;

use super::*;
use crate::suite::support::wait_for;

/// 2029-12-31T00:00:00Z.
const LAST_DAY_OF_2029_MS: i64 = 1_893_369_600_000;

/// Only a client with a valid certificate from the authority can call.
#[tokio::test]
async fn only_valid_client_certificates_are_accepted() {
    let scene = Scene::open().await;
    let bearer = format!("Bearer {TOKEN}");
    let refused = [
        ("none", None),
        ("a foreign authority's", Some(Authority::new().client("right.example"))),
        ("an expired one", Some(scene.authority.client_between(2020, 2021))),
        ("one of the future", Some(scene.authority.client_between(2090, 2091))),
        ("one for servers", Some(scene.authority.server())),
    ];
    for (who, client) in &refused {
        fails_to_connect(reserve_for(scene.data(client.as_ref()), TEAM).await, who);
        fails_to_connect(list_teams(scene.admin(client.as_ref()), Some(&bearer)).await, who);
    }
    let right = scene.right();
    reserve_for(scene.data(Some(&right)), TEAM).await.unwrap();
    assert_eq!(list_teams(scene.admin(Some(&right)), Some(&bearer)).await.unwrap(), 3);
}

/// Plaintext is refused, and a client that does not trust the sidecar's certificate sends no call.
#[tokio::test]
async fn plaintext_and_distrustful_clients_cannot_call() {
    let scene = Scene::open().await;
    let address = scene.sidecar.listen_address().to_string();
    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    fails_to_connect(reserve_for(plain, TEAM).await, "plaintext");
    let distrustful = channel(&address, &Authority::new().pem, Some(&scene.right()));
    fails_to_connect(reserve_for(distrustful, TEAM).await, "a client of another authority");
    reserve_for(scene.data(Some(&scene.right())), TEAM).await.unwrap();
}

/// A client that does not finish its TLS handshake is disconnected in time, and keeps no other client out.
#[tokio::test]
async fn unfinished_handshakes_keep_no_client_out() {
    let limits = Limits { handshake_timeout: Duration::from_millis(300), max_connections: 1, ..Limits::default() };
    let scene = Scene::open_with(None, ServeOptions { limits, ..ServeOptions::default() }).await;
    let address = scene.sidecar.listen_address().to_string();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut read = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut read)).await.unwrap();
    assert!(read.is_empty(), "{ended:?} {read:?}");
    let _silent = TcpStream::connect(&address).await.unwrap();
    reserve_for(scene.data(Some(&scene.right())), TEAM).await.unwrap();
}

/// A certificate that expires does not end an open connection, and does not open a new one.
#[tokio::test]
async fn an_expired_certificate_opens_no_connection() {
    let clock = ManualClock::at(LAST_DAY_OF_2029_MS);
    let options = ServeOptions { clock: Clock::Manual(clock.clone()), ..ServeOptions::default() };
    let scene = Scene::open_with(None, options).await;
    let client = scene.authority.client_between(2020, 2030);
    let open = scene.data(Some(&client));
    reserve_for(open.clone(), TEAM).await.unwrap();
    clock.advance_ms(2 * 24 * 60 * 60 * 1_000);
    wait_for("the catalogue to be read at the new time", || {
        let open = open.clone();
        async move { reserve_for(open, TEAM).await.ok() }
    })
    .await;
    fails_to_connect(reserve_for(scene.data(Some(&client)), TEAM).await, "a certificate that expired");
}

/// Each connection performs a full handshake with its certificate, in TLS 1.2 and 1.3.
#[tokio::test]
async fn tls_sessions_are_not_resumed() {
    let scene = Scene::open().await;
    let address = scene.sidecar.listen_address().to_string();
    for version in [&TLS12, &TLS13] {
        // This client would resume its session if the sidecar offered it.
        let connector = TlsConnector::from(Arc::new(speaking(version, &scene.authority.pem, &scene.right())));
        for _ in 0..3 {
            let stream = TcpStream::connect(&address).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
            // A session ticket would come before the first byte of HTTP/2.
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            stream.read_exact(&mut [0; 9]).await.unwrap();
        }
    }
}

/// Returns the configuration of a client with this version of TLS, which trusts this authority and has this certificate.
fn speaking(version: &'static SupportedProtocolVersion, authority: &str, client: &Pair) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn the_audit_log_names_the_client() {
    let scene = Scene::open().await;
    for (client, name) in [
        (scene.right(), "right.example"),
        (scene.authority.client_of_uri("spiffe://acme/ns/billing"), "spiffe://acme/ns/billing"),
        (scene.authority.client_of_common_name("billing, of acme"), "billing, of acme"),
    ] {
        let mut accounts = AccountServiceClient::new(scene.admin(Some(&client)));
        let team = crate::suite::support::client::team_without_seat(TEAM, i64::try_from(name.len()).unwrap());
        accounts.put_team(signed(tollgate::proto::v1::PutTeamRequest { team: Some(team) })).await.unwrap();
        let request = ListAuditEntriesRequest { team_id: Some(TEAM.to_owned()), ..ListAuditEntriesRequest::default() };
        let entries = accounts.list_audit_entries(signed(request)).await.unwrap().into_inner().entries;
        let caller = &entries.last().unwrap().caller;
        assert!(caller.starts_with("tls:peer=127.0.0.1:") && caller.ends_with(&format!(",name={name}")), "{caller}");
    }
}

fn signed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}
