//! The admin listener as these commands see it: where it is, and one bounded attempt at each call.

use std::{path::Path, time::Duration};

use clap::Args;
use tonic::{Code, Request, Response, Status, transport::Channel};

use super::failure::{Stop, is_of_closed_connection};
use crate::{
    client::{SecurityArguments, SecurityError, SidecarAddress, SidecarEndpoint},
    config::{self, AdminFlags},
    exit_code::{self, CommandError},
    proto::v1::{
        GetRateCardRequest, GetRateCardResponse, GetTeamRequest, GetTeamResponse, GetUsageRequest, GetUsageResponse,
        ListAuditEntriesRequest, ListAuditEntriesResponse, ListChargesRequest, ListChargesResponse,
        ListRateCardsRequest, ListRateCardsResponse, ListTeamsRequest, ListTeamsResponse, PutRateCardRequest,
        PutRateCardResponse, PutTeamRequest, PutTeamResponse, SetOveragesRequest, SetOveragesResponse,
        account_service_client::AccountServiceClient, usage_service_client::UsageServiceClient,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Every call, and so every page of a list, is given up after this.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How many rows a page of a list has.
pub(super) const PAGE_SIZE: u32 = 1_000;

/// The option that names the admin listener.
const OPTION: &str = "--admin";

/// Where the admin listener is: where the sidecar's own configuration says that it listens.
#[derive(Args, Clone, Debug)]
pub(super) struct Admin {
    #[command(flatten)]
    flags: AdminFlags,
    #[command(flatten)]
    security: SecurityArguments,
}

/// A connection to the admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    accounts: AccountServiceClient<Channel>,
    usage: UsageServiceClient<Channel>,
    listener: SidecarEndpoint,
}

impl Admin {
    /// The listener, as a client of this machine calls it: with the token, if it wants one, for what is not open to everybody.
    pub(super) fn listener(&self, with_token: bool) -> Result<SidecarEndpoint, CommandError> {
        let admin = config::admin_listener(&self.flags)?;
        let address = admin.address.as_seen_from_here().to_string();
        let parsed = address.parse();
        let parsed = parsed
            .map_err(|error| CommandError::new(exit_code::CONFIG, format!("{address} cannot be called: {error}")))?;
        self.listener_at(parsed, admin.token_file.as_deref().filter(|_| with_token))
    }

    /// A listener at this address, called by the same means.
    pub(super) fn listener_at(
        &self,
        address: SidecarAddress,
        token_file: Option<&Path>,
    ) -> Result<SidecarEndpoint, CommandError> {
        let listener = self.security.read(token_file).and_then(|security| address.with(security));
        listener.map_err(|error| {
            let code = match error {
                SecurityError::Unreadable { .. } => exit_code::NO_INPUT,
                SecurityError::NoToken(_) => exit_code::CONFIG,
                SecurityError::NoAuthority(_) | SecurityError::TokenWithoutTls(_) => exit_code::USAGE,
            };
            CommandError::new(code, error.to_string())
        })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<AdminClient, CommandError> {
        let listener = self.listener(true)?;
        let channel = connect(&listener, OPTION).await?;
        Ok(AdminClient {
            accounts: AccountServiceClient::new(channel.clone()),
            usage: UsageServiceClient::new(channel),
            listener,
        })
    }
}

/// One rpc.
macro_rules! rpc {
    ($client:ident.$name:ident($request:ty) -> $answer:ty) => {
        pub(super) async fn $name(&self, request: $request) -> Result<$answer, CallError> {
            self.attempt(self.$client.clone().$name(self.signed(request))).await
        }
    };
}

impl AdminClient {
    rpc!(accounts.put_team(PutTeamRequest) -> PutTeamResponse);
    rpc!(accounts.get_team(GetTeamRequest) -> GetTeamResponse);
    rpc!(accounts.list_teams(ListTeamsRequest) -> ListTeamsResponse);
    rpc!(accounts.set_overages(SetOveragesRequest) -> SetOveragesResponse);
    rpc!(accounts.put_rate_card(PutRateCardRequest) -> PutRateCardResponse);
    rpc!(accounts.get_rate_card(GetRateCardRequest) -> GetRateCardResponse);
    rpc!(accounts.list_rate_cards(ListRateCardsRequest) -> ListRateCardsResponse);
    rpc!(accounts.list_audit_entries(ListAuditEntriesRequest) -> ListAuditEntriesResponse);
    rpc!(usage.get_usage(GetUsageRequest) -> GetUsageResponse);
    rpc!(usage.list_charges(ListChargesRequest) -> ListChargesResponse);

    /// Waits for an answer, and no longer than [`CALL_TIMEOUT`].
    async fn attempt<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
        attempt(call, CALL_TIMEOUT, &self.listener, OPTION).await
    }

    /// A request that tells the sidecar how long it will be waited for, and by what right.
    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        self.listener.sign(&mut request);
        request
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// What was named is not there.
    NotFound(CommandError),
    /// Anything else.
    Other(CommandError),
}

impl From<CallError> for CommandError {
    fn from(refusal: CallError) -> Self {
        match refusal {
            CallError::NotFound(failure) | CallError::Other(failure) => failure,
        }
    }
}

impl From<CallError> for Stop {
    fn from(refusal: CallError) -> Self {
        CommandError::from(refusal).into()
    }
}

/// Connects to an address that an option names.
pub(super) async fn connect(listener: &SidecarEndpoint, option: &str) -> Result<Channel, CommandError> {
    // The inner limit is for the attempt to connect, the outer one for a host that takes the connection and says nothing.
    match tokio::time::timeout(CONNECT_TIMEOUT, listener.connect(CONNECT_TIMEOUT)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(CommandError::unconnected(&error, listener, option)),
        Err(_) => Err(CommandError::unreachable(listener, option)),
    }
}

/// Whether a deadline passed. A connection that the other end closed is cancelled as well, and that is something else.
fn is_late(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && !is_of_closed_connection(status)
}

/// Waits so long for the answer to a call.
pub(super) async fn attempt<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
    within: Duration,
    listener: &SidecarEndpoint,
    option: &str,
) -> Result<T, CallError> {
    match tokio::time::timeout(within, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        // Either side of the connection may see the deadline pass first, and each says so in its own way.
        Ok(Err(status)) if is_late(&status) => Err(CallError::Other(CommandError::silent(listener, within.as_secs()))),
        Ok(Err(status)) => {
            let failure = CommandError::answered(&status, listener, option);
            Err(if status.code() == Code::NotFound { CallError::NotFound(failure) } else { CallError::Other(failure) })
        }
        Err(_) => Err(CallError::Other(CommandError::silent(listener, within.as_secs()))),
    }
}

/// Follows a list from its first page to its last, and hands on every row.
pub(super) async fn each<T>(
    mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), CallError>,
    mut row: impl FnMut(T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut token = String::new();
    loop {
        let (rows, next) = page(token).await?;
        rows.into_iter().try_for_each(&mut row)?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
}
