//! The token of the admin listener, on a port and on a socket.

use std::sync::Arc;

use tokio_stream::StreamExt as _;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use super::*;
use crate::suite::support::{client, sidecar::Sidecar as Process, wait_for, wait_until};

/// Starts a sidecar whose admin listener at this address has no TLS and requires a token.
async fn with_token(admin: &str, directory: &TempDir) -> Sidecar {
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let access = Access { admin_token_file: Some(file), ..Access::default() };
    let options = ServeOptions { admin: admin.parse().unwrap(), access, ..ServeOptions::default() };
    Sidecar::start(options).await.unwrap()
}

#[tokio::test]
async fn a_call_needs_the_token_on_a_port_and_on_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", directory.path().join("admin").display());
    for admin in ["127.0.0.1:0", &socket] {
        let sidecar = with_token(admin, &directory).await;
        let channel = client::channel(&sidecar.admin_address().to_string());
        for none in [None, Some(TOKEN), Some("Basic YTpi")] {
            let refused = list_teams(channel.clone(), none).await.unwrap_err();
            check(&refused, Code::Unauthenticated, "TOKEN_MISSING");
        }
        for wrong in ["Bearer x", "Bearer a-token-of-test", "Bearer a-token-of-tests2"] {
            let refused = list_teams(channel.clone(), Some(wrong)).await.unwrap_err();
            check(&refused, Code::Unauthenticated, "TOKEN_WRONG");
        }
        assert_eq!(list_teams(channel.clone(), Some(&format!("Bearer {TOKEN}"))).await.unwrap(), 0);

        // The data listener requires none.
        let data = client::channel(&sidecar.listen_address().to_string());
        assert_eq!(reserve_for(data, TEAM).await.unwrap_err().code(), Code::NotFound);
        sidecar.shutdown().await;
    }
}

/// Health checks need no token. Reflection, like all calls of the contract, does.
#[tokio::test]
async fn health_needs_no_token_but_reflection_does() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = with_token("127.0.0.1:0", &directory).await;
    let channel = client::channel(&sidecar.admin_address().to_string());
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);

    let list = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        Request::new(tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request }))
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let refused = reflection.server_reflection_info(list()).await.unwrap_err();
    check(&refused, Code::Unauthenticated, "TOKEN_MISSING");
    let mut signed = list();
    signed.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut answers = reflection.server_reflection_info(signed).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
}

/// A new token applies when it is in the file. An empty file changes nothing.
#[tokio::test]
async fn a_new_token_applies_and_an_empty_file_does_not() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let arguments = ["--store=memory", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--admin-token-file=token"];
    let sidecar = Process::start_in(&directory, &arguments);
    let channel = client::channel(sidecar.admin());
    let counts = async |token: &str| list_teams(channel.clone(), Some(&format!("Bearer {token}"))).await.is_ok();
    std::fs::write(&file, "\n").unwrap();
    wait_until("the log says that there is no token", || {
        sidecar.stderr().contains("which admin_token_file names, is empty")
    });
    assert!(counts(TOKEN).await && !counts("").await);
    std::fs::write(&file, "  another\n").unwrap();
    wait_for("the new token to count", || async { counts("another").await.then_some(()) }).await;
    assert!(!counts(TOKEN).await);
    assert!(!sidecar.stderr().contains("another"), "{}", sidecar.stderr());
}
