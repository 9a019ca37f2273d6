//! The client of the admin listener: its address, its connection, and one attempt at each call, with a timeout.

use std::{path::Path, time::Duration};

use clap::Args;
use tonic::{Code, Request, Response, Status, transport::Channel};

use super::error::{Stop, is_closed_connection};
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

/// Timeout of the connection, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout of each call, and so of each page of a list.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of rows in one page of a list.
pub(super) const PAGE_SIZE: u32 = 1_000;

/// The option that names the admin listener.
const OPTION: &str = "--admin";

/// Options that locate the admin listener. They default to the address in the sidecar's own configuration.
#[derive(Args, Clone, Debug)]
pub(super) struct AdminArguments {
    #[command(flatten)]
    flags: AdminFlags,
    #[command(flatten)]
    security: SecurityArguments,
}

/// A client that is connected to the admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    accounts: AccountServiceClient<Channel>,
    usage: UsageServiceClient<Channel>,
    listener: SidecarEndpoint,
}

impl AdminArguments {
    /// Returns the admin listener, as reached from this machine. `with_token` adds the configured token. Only health
    /// checks need none.
    pub(super) fn listener(&self, with_token: bool) -> Result<SidecarEndpoint, CommandError> {
        let admin = config::admin_listener(&self.flags)?;
        let address = admin.address.as_seen_from_here().to_string();
        let parsed = address.parse();
        let parsed =
            parsed.map_err(|error| CommandError::new(exit_code::CONFIG, format!("cannot call {address}: {error}")))?;
        self.listener_at(parsed, admin.token_file.as_deref().filter(|_| with_token))
    }

    /// Returns a listener at this address, with the same credentials.
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

    /// Connects to the admin listener.
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

/// Defines the method for one rpc.
macro_rules! rpc {
    ($client:ident.$name:ident($request:ty) -> $answer:ty) => {
        pub(super) async fn $name(&self, request: $request) -> Result<$answer, CallError> {
            self.await_answer(self.$client.clone().$name(self.signed(request))).await
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

    /// Waits for the answer, at most [`CALL_TIMEOUT`].
    async fn await_answer<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
        await_answer(call, CALL_TIMEOUT, &self.listener, OPTION).await
    }

    /// Makes a request with its timeout and, if configured, the token.
    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        self.listener.sign(&mut request);
        request
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The sidecar answered NOT_FOUND.
    NotFound(CommandError),
    /// Any other failure.
    Other(CommandError),
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotFound(error) | CallError::Other(error) => error,
        }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        CommandError::from(error).into()
    }
}

/// Connects to a listener. `option` is the command-line option that names its address, for the error message.
pub(super) async fn connect(listener: &SidecarEndpoint, option: &str) -> Result<Channel, CommandError> {
    // The inner timeout covers the TCP connection. The outer one covers a host that accepts it and then stays silent.
    match tokio::time::timeout(CONNECT_TIMEOUT, listener.connect(CONNECT_TIMEOUT)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(CommandError::unconnected(&error, listener, option)),
        Err(_) => Err(CommandError::unreachable(listener, option)),
    }
}

/// Returns whether a deadline passed. A connection that the sidecar closed also gives CANCELLED, but is no timeout.
fn is_timeout(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) && !is_closed_connection(status)
}

/// Waits for the answer to a call, at most this long.
pub(super) async fn await_answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
    timeout: Duration,
    listener: &SidecarEndpoint,
    option: &str,
) -> Result<T, CallError> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        // The deadline may pass first at the client or at the sidecar. Each reports it differently.
        Ok(Err(status)) if is_timeout(&status) => {
            Err(CallError::Other(CommandError::timed_out(listener, timeout.as_secs())))
        }
        Ok(Err(status)) => {
            let error = CommandError::answered(&status, listener, option);
            Err(if status.code() == Code::NotFound { CallError::NotFound(error) } else { CallError::Other(error) })
        }
        Err(_) => Err(CallError::Other(CommandError::timed_out(listener, timeout.as_secs()))),
    }
}

/// Reads all pages of a list and passes each row on.
pub(super) async fn for_each_row<T>(
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
