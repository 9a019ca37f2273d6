//! A client of a sidecar with short methods for its calls, and the retry rule that the contract asks of every client.
//!
//! `reserve`, `commit` and `release` make one attempt, for tests that examine its result. All other methods follow the retry
//! rule.

use std::{error::Error as _, time::Duration};

use tollgate::proto::v1::{
    account_service_client::AccountServiceClient, check_and_reserve_response::Decision,
    quota_service_client::QuotaServiceClient, usage_service_client::UsageServiceClient, *,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::wait_for;

/// Timeout of one attempt at a call.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Clients of all services of a sidecar. Clones share the two connections.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) data: Channel,
    pub(crate) quota: QuotaServiceClient<Channel>,
    pub(crate) accounts: AccountServiceClient<Channel>,
    pub(crate) usage: UsageServiceClient<Channel>,
}

impl Client {
    /// Returns a client of these listeners, given as `host:port` or `unix:/path`.
    pub(crate) fn of(data: &str, admin: &str) -> Self {
        let (data, admin) = (channel(data), channel(admin));
        Self {
            quota: QuotaServiceClient::new(data.clone()),
            accounts: AccountServiceClient::new(admin.clone()),
            usage: UsageServiceClient::new(admin),
            data,
        }
    }

    /// Creates or replaces a team.
    pub(crate) async fn put_team(&self, team: Team) {
        let request = PutTeamRequest { team: Some(team) };
        answered(request, |request| {
            let mut client = self.accounts.clone();
            async move { client.put_team(request).await }
        })
        .await;
    }

    /// Switches overages.
    pub(crate) async fn set_overages(&self, team: &str, enabled: bool, cap_blocks: Option<u32>) {
        let request = SetOveragesRequest { team_id: team.to_owned(), enabled, cap_blocks };
        answered(request, |request| {
            let mut client = self.accounts.clone();
            async move { client.set_overages(request).await }
        })
        .await;
    }

    /// Reserves, and returns the decision.
    pub(crate) async fn reserve(&self, request: CheckAndReserveRequest) -> Result<Decision, Status> {
        Ok(self.quota.clone().check_and_reserve(request).await?.into_inner().decision.unwrap())
    }

    /// Reserves. Panics unless the answer is Proceed.
    pub(crate) async fn proceed(&self, request: CheckAndReserveRequest) -> Proceed {
        match until_answered("a reserve", || self.reserve(request.clone())).await {
            Decision::Proceed(proceed) => proceed,
            Decision::Suspend(suspend) => panic!("suspended: {}", suspend.message),
        }
    }

    /// Reserves. Panics unless the answer is Suspend.
    pub(crate) async fn suspend(&self, request: CheckAndReserveRequest) -> Suspend {
        match until_answered("a reserve", || self.reserve(request.clone())).await {
            Decision::Suspend(suspend) => suspend,
            Decision::Proceed(proceed) => panic!("{} credits may proceed", proceed.credits),
        }
    }

    /// Commits the reserved units.
    pub(crate) async fn commit(&self, team: &str, id: &str, grant: &[u8]) -> Result<CommitResponse, Status> {
        let (team_id, reservation_id) = (team.to_owned(), id.to_owned());
        let request =
            CommitRequest { team_id, reservation_id, grant: grant.to_vec().into(), ..CommitRequest::default() };
        Ok(self.quota.clone().commit(request).await?.into_inner())
    }

    /// Releases.
    pub(crate) async fn release(&self, team: &str, id: &str, grant: &[u8]) -> Result<ReleaseResponse, Status> {
        let (team_id, reservation_id) = (team.to_owned(), id.to_owned());
        let request = ReleaseRequest { team_id, reservation_id, grant: grant.to_vec().into() };
        Ok(self.quota.clone().release(request).await?.into_inner())
    }

    /// Returns the current state of a reservation.
    pub(crate) async fn reservation(&self, team: &str, id: &str) -> Reservation {
        let request = GetReservationRequest { team_id: team.to_owned(), reservation_id: id.to_owned() };
        answered(request, |request| {
            let mut client = self.quota.clone();
            async move { client.get_reservation(request).await }
        })
        .await
        .reservation
        .unwrap()
    }

    /// Returns the balance of the current cycle, and the sums of its usage rows.
    pub(crate) async fn books(&self, team: &str) -> Books {
        let request = GetUsageRequest { team_id: team.to_owned(), page_size: 1_000, ..GetUsageRequest::default() };
        let usage = answered(request, |request| {
            let mut client = self.usage.clone();
            async move { client.get_usage(request).await }
        })
        .await;
        assert_eq!(usage.next_page_token, "", "the rows are on one page");
        Books {
            calls: usage.rows.iter().map(|row| row.calls).sum(),
            credits: usage.rows.iter().map(|row| row.credits).sum(),
            balance: usage.balance.unwrap(),
        }
    }

    /// Returns the numbers of the overage blocks that a team was charged.
    pub(crate) async fn blocks(&self, team: &str) -> Vec<u32> {
        let mut request =
            ListChargesRequest { team_id: Some(team.to_owned()), page_size: 1_000, ..ListChargesRequest::default() };
        let mut blocks = Vec::new();
        loop {
            let page = answered(request.clone(), |request| {
                let mut client = self.usage.clone();
                async move { client.list_charges(request).await }
            })
            .await;
            blocks.extend(page.charges.iter().map(|charge| charge.block));
            if page.next_page_token.is_empty() {
                return blocks;
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Usage of a team in the current cycle.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) calls: i64,
    pub(crate) credits: i64,
    pub(crate) balance: Balance,
}

/// Returns a channel to a listener, which connects with its first call.
pub(crate) fn channel(address: &str) -> Channel {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    Endpoint::from_shared(uri).unwrap().timeout(ATTEMPT).connect_lazy()
}

/// Makes a call, and repeats it by the retry rule, with the same id and content, until it is answered.
pub(crate) async fn until_answered<T, Attempt>(what: &str, mut call: impl FnMut() -> Attempt) -> T
where
    Attempt: Future<Output = Result<T, Status>>,
{
    wait_for(what, || {
        let attempt = call();
        async move {
            match attempt.await {
                Ok(answer) => Some(answer),
                Err(status) if is_of_unknown_outcome(&status) => None,
                Err(status) => panic!("{what}: {status}"),
            }
        }
    })
    .await
}

/// Returns the answer to a request, which is repeated by the retry rule.
async fn answered<Request, Answer, Attempt>(request: Request, mut call: impl FnMut(Request) -> Attempt) -> Answer
where
    Request: Clone,
    Attempt: Future<Output = Result<tonic::Response<Answer>, Status>>,
{
    until_answered(std::any::type_name::<Request>(), || call(request.clone())).await.into_inner()
}

/// Whether the retry rule asks for a repeat. The outcome is also unknown if the connection broke during the call. The client
/// library reports that with various codes, and attaches a source, which a status from the sidecar never has.
pub(crate) fn is_of_unknown_outcome(status: &Status) -> bool {
    status.source().is_some() || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// Returns a team with these included credits and no seat. Nothing can exceed its limit.
pub(crate) fn team_without_seat(team: &str, included: i64) -> Team {
    Team {
        team_id: team.to_owned(),
        plan: "free".to_owned(),
        billing_anchor_day: 1,
        included_credits: Some(included),
        ..Team::default()
    }
}

/// Returns a team with these included credits that may switch overages on.
pub(crate) fn professional_team(team: &str, included: i64) -> Team {
    Team { plan: "professional".to_owned(), paid_seat: true, ..team_without_seat(team, included) }
}

/// Returns the request of a block. All blocks of a team are in one run.
pub(crate) fn block(team: &str, reservation: &str, model: &str) -> CheckAndReserveRequest {
    CheckAndReserveRequest {
        team_id: team.to_owned(),
        flow_id: "flow".to_owned(),
        run_id: "run".to_owned(),
        block_id: "block".to_owned(),
        reservation_id: reservation.to_owned(),
        model: model.to_owned(),
        ..CheckAndReserveRequest::default()
    }
}

/// Returns the request of the test of a prompt, which belongs to no run.
pub(crate) fn prompt_test(team: &str, reservation: &str, model: &str) -> CheckAndReserveRequest {
    CheckAndReserveRequest {
        run_id: String::new(),
        block_id: String::new(),
        trigger: Trigger::Test.into(),
        ..block(team, reservation, model)
    }
}
