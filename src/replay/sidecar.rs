//! The sidecar as a client sees it: its two listeners, a deadline on every attempt, and the retry rule.

use std::time::Duration;

use anyhow::Context as _;
use tonic::{Request, Status, transport::Channel};

use super::retry::until_answered;
use crate::{
    client::SidecarEndpoint,
    clock::Clock,
    proto::v1::{
        CheckAndReserveRequest, CheckAndReserveResponse, CommitRequest, CommitResponse, EndRunRequest, EndRunResponse,
        GetTeamRequest, GetTeamResponse, GetUsageRequest, GetUsageResponse, PutTeamRequest, PutTeamResponse,
        account_service_client::AccountServiceClient, quota_service_client::QuotaServiceClient,
        usage_service_client::UsageServiceClient,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call is repeated. Giving up a reserve costs nothing: the model is not called, and the hold runs out.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a commit is repeated. The model was called, so an executor would not give it up for hours; but somebody
/// waits for this command to end.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// A connection to both listeners; clones share it.
#[derive(Clone, Debug)]
pub(super) struct SidecarClient {
    quota: QuotaServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
    usage: UsageServiceClient<Channel>,
    /// The admin listener, whose calls may need a token.
    admin: SidecarEndpoint,
    clock: Clock,
}

/// Calls of the admin listener bring its token; those of the data listener bring none.
macro_rules! sign {
    ($sidecar:expr, quota, $attempt:expr) => {};
    ($sidecar:expr, $client:ident, $attempt:expr) => {
        $sidecar.admin.sign(&mut $attempt)
    };
}

/// One rpc: a fresh message and deadline for every attempt, repeated by the retry rule.
macro_rules! rpc {
    ($(#[$doc:meta])* $client:ident.$name:ident($request:ty) -> $answer:ty, $patience:expr) => {
        $(#[$doc])*
        pub(super) async fn $name(&self, request: $request) -> Result<$answer, Status> {
            until_answered(&self.clock, $patience, || {
                let mut client = self.$client.clone();
                let mut attempt = Request::new(request.clone());
                attempt.set_timeout(ATTEMPT_TIMEOUT);
                sign!(self, $client, attempt);
                async move { client.$name(attempt).await }
            })
            .await
        }
    };
}

impl SidecarClient {
    /// Connects to the data and the admin listener.
    pub(super) async fn connect(data: &SidecarEndpoint, admin: SidecarEndpoint, clock: Clock) -> anyhow::Result<Self> {
        let data = connect(data, "data listener", "--addr").await?;
        let channel = connect(&admin, "admin listener", "--admin").await?;
        Ok(Self {
            quota: QuotaServiceClient::new(data),
            accounts: AccountServiceClient::new(channel.clone()),
            usage: UsageServiceClient::new(channel),
            admin,
            clock,
        })
    }

    rpc!(quota.check_and_reserve(CheckAndReserveRequest) -> CheckAndReserveResponse, PATIENCE);
    rpc!(quota.commit(CommitRequest) -> CommitResponse, COMMIT_PATIENCE);
    rpc!(quota.end_run(EndRunRequest) -> EndRunResponse, PATIENCE);
    rpc!(accounts.get_team(GetTeamRequest) -> GetTeamResponse, PATIENCE);
    rpc!(accounts.put_team(PutTeamRequest) -> PutTeamResponse, PATIENCE);
    rpc!(usage.get_usage(GetUsageRequest) -> GetUsageResponse, PATIENCE);
}

async fn connect(address: &SidecarEndpoint, listener: &str, option: &str) -> anyhow::Result<Channel> {
    address.connect(CONNECT_TIMEOUT).await.with_context(|| {
        format!(
            "no sidecar answers at {address} ({listener}); start one with `tollgate serve`, or say where with {option}"
        )
    })
}
