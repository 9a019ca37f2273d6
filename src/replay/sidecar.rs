//! A client of a sidecar's two listeners, with a deadline for every attempt and the retry rule.

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

/// How long a call is retried. Giving up a reserve costs nothing: the model is not called, and the hold expires.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a commit is retried. A real executor would retry for hours, because the model was called. This command has a user who
/// waits for it.
const COMMIT_RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// Connections to both listeners. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct SidecarClient {
    quota: QuotaServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
    usage: UsageServiceClient<Channel>,
    /// The admin listener, which may require a token.
    admin: SidecarEndpoint,
    clock: Clock,
}

/// Adds the token to a call of the admin listener. Calls of the data listener have none.
macro_rules! sign {
    ($sidecar:expr, quota, $attempt:expr) => {};
    ($sidecar:expr, $client:ident, $attempt:expr) => {
        $sidecar.admin.sign(&mut $attempt)
    };
}

/// Defines one rpc. Every attempt has its own message and deadline; the retry rule repeats it.
macro_rules! rpc {
    ($(#[$doc:meta])* $client:ident.$name:ident($request:ty) -> $answer:ty, $retry_timeout:expr) => {
        $(#[$doc])*
        pub(super) async fn $name(&self, request: $request) -> Result<$answer, Status> {
            until_answered(&self.clock, $retry_timeout, || {
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

    rpc!(quota.check_and_reserve(CheckAndReserveRequest) -> CheckAndReserveResponse, RETRY_TIMEOUT);
    rpc!(quota.commit(CommitRequest) -> CommitResponse, COMMIT_RETRY_TIMEOUT);
    rpc!(quota.end_run(EndRunRequest) -> EndRunResponse, RETRY_TIMEOUT);
    rpc!(accounts.get_team(GetTeamRequest) -> GetTeamResponse, RETRY_TIMEOUT);
    rpc!(accounts.put_team(PutTeamRequest) -> PutTeamResponse, RETRY_TIMEOUT);
    rpc!(usage.get_usage(GetUsageRequest) -> GetUsageResponse, RETRY_TIMEOUT);
}

async fn connect(endpoint: &SidecarEndpoint, listener: &str, option: &str) -> anyhow::Result<Channel> {
    endpoint.connect(CONNECT_TIMEOUT).await.with_context(|| {
        format!(
            "no sidecar answers at {endpoint} ({listener}); start one with `tollgate serve`, or name its address with \
             {option}"
        )
    })
}
