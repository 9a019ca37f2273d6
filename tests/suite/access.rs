//! Access control with real clients: certificates, the token, and teams.

mod certificates;
mod commands;
mod counted;
pub(crate) mod grpcurl;
mod refusals;
mod rotation;
mod teams;
mod tls;
mod token;

use std::collections::BTreeSet;

use tempfile::TempDir;
use tollgate::{
    clock::Clock,
    domain::{id::Id, plan::Plan, seed::TeamSeed, terms_change::TeamSettings},
    proto::v1::{
        ListTeamsRequest, account_service_client::AccountServiceClient, check_and_reserve_response::Decision,
        quota_service_client::QuotaServiceClient,
    },
    serve::{Access, Clients, Limits, ServeOptions, Sidecar, TlsFiles},
};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

use self::certificates::{Authority, Pair};
use crate::suite::support::client::prompt_test;

const TEAM: &str = "team";

pub(crate) const TOKEN: &str = "a-token-of-tests";

/// A sidecar in this process. Both listeners require client certificates, and the admin listener a token as well.
struct Scene {
    sidecar: Sidecar,
    authority: Authority,
    _directory: TempDir,
}

impl Scene {
    async fn open() -> Self {
        Self::open_with(None, ServeOptions::default()).await
    }

    /// Starts the sidecar with these clients and options.
    async fn open_with(clients: Option<Clients>, options: ServeOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let server = authority.server();
        let file = |name: &str, contents: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, contents).unwrap();
            Some(path)
        };
        let tls = TlsFiles {
            certificate: file("server.pem", &server.certificate),
            key: file("server.key", &server.key),
            client_ca: file("authority.pem", &authority.pem),
        };
        let admin_token_file = file("token", &format!("{TOKEN}\n"));
        let access = Access { listen_tls: tls.clone(), admin_tls: tls, admin_token_file, clients };
        let mut options = ServeOptions { access, ..options };
        options.seed.teams = ["one", "two", TEAM].map(seeded).into();
        Self { sidecar: Sidecar::start(options).await.unwrap(), authority, _directory: directory }
    }

    /// Returns a new connection to the data listener, for a client that trusts the authority and has this certificate.
    fn data(&self, client: Option<&Pair>) -> Channel {
        channel(&self.sidecar.listen_address().to_string(), &self.authority.pem, client)
    }

    /// Returns such a connection to the admin listener.
    fn admin(&self, client: Option<&Pair>) -> Channel {
        channel(&self.sidecar.admin_address().to_string(), &self.authority.pem, client)
    }

    /// Returns the certificate of a client that is accepted.
    fn right(&self) -> Pair {
        self.authority.client("right.example")
    }
}

fn seeded(team: &str) -> TeamSeed {
    let settings = TeamSettings { plan: Plan::Free, paid_seat: false, anchor_day: 1, included_override: None };
    TeamSeed { team: Id::parse(team).unwrap(), terms: settings.first_terms() }
}

fn teams(names: &[&str]) -> Option<BTreeSet<Id>> {
    Some(names.iter().map(|name| Id::parse(name).unwrap()).collect())
}

/// Returns a channel that connects when it is first used, for a client that trusts this authority and has this certificate.
fn channel(address: &str, authority: &str, client: Option<&Pair>) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let tls = match client {
        Some(client) => tls.identity(Identity::from_pem(&client.certificate, &client.key)),
        None => tls,
    };
    Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy()
}

/// Calls QuotaService for a team.
async fn reserve_for(channel: Channel, team: &str) -> Result<Decision, Status> {
    let request = prompt_test(team, &uuid::Uuid::new_v4().to_string(), "gpt-4o");
    Ok(QuotaServiceClient::new(channel).check_and_reserve(request).await?.into_inner().decision.unwrap())
}

/// Calls AccountService with this `authorization` header.
async fn list_teams(channel: Channel, authorization: Option<&str>) -> Result<usize, Status> {
    let mut request = Request::new(ListTeamsRequest::default());
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    Ok(AccountServiceClient::new(channel).list_teams(request).await?.into_inner().teams.len())
}

/// Adds a header that makes a call go through tonic instead of the fast path.
fn through_tonic<Body>(mut request: http::Request<Body>) -> http::Request<Body> {
    request.headers_mut().insert("grpc-encoding", http::HeaderValue::from_static("identity"));
    request
}

/// Asserts that the connection failed, without any response of the contract.
#[track_caller]
fn fails_to_connect<T: std::fmt::Debug>(outcome: Result<T, Status>, who: &str) {
    let status = outcome.expect_err(who);
    assert!(std::error::Error::source(&status).is_some(), "{who}: {status:?}");
}

#[track_caller]
fn check(status: &Status, code: Code, reason: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "tollgate"), "{status:?}");
}
