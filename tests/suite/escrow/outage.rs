//! The store hangs while a sidecar holds leases. Calls of that team continue, and the books are right when the store is
//! back.

use std::time::Duration;

use tokio::time::{Interval, interval};
use tollgate::{
    domain::{
        id::Id,
        reservation::{Backing, read_grant},
    },
    proto::v1::{CheckAndReserveRequest, Proceed},
};

use crate::suite::support::{
    client::{Client, block, prompt_test, team_without_seat, until_answered},
    servers::{Engine, Server},
    sidecar::Sidecar,
    signal, wait_for,
};

const TEAM: &str = "team";
const PRICE: i64 = 2;
const INCLUDED: i64 = 100_000;

/// A moderately busy team.
const CALLS_PER_SECOND: u64 = 50;

/// Number of calls while the store hangs: two seconds' worth.
const WHILE_AWAY: u64 = 2 * CALLS_PER_SECOND;

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_leased_team_go_on_while_redis_hangs() {
    let server = Server::start_durable(Engine::Redis);
    let sidecar = Sidecar::start_with(&server.location(), &["--escrow=auto", "--store-wait=1s"]);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, INCLUDED)).await;
    let mut team = BusyTeam { client: client.clone(), pace: interval(pace()), calls: 0, granted: Vec::new() };
    team.is_answered_from_leases().await;

    signal(server.process_id(), "STOP");
    for _ in 0..WHILE_AWAY {
        let proceed = team.call().await;
        assert!(is_leased(&proceed), "{} was written through a store that hangs", proceed.reservation_id);
    }
    // A call with a hold that is too long for a lease needs the store, and fails.
    let hold_for = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let refused = client.reserve(CheckAndReserveRequest { hold_for, ..prompt_test(TEAM, "long", "gpt-4o") }).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
    signal(server.process_id(), "CONT");

    let granted = team.granted;
    for (id, grant) in &granted {
        let commit = until_answered("a commit", || client.commit(TEAM, id, grant)).await;
        assert_eq!((commit.credits, commit.late), (PRICE, false), "{id}");
    }
    // The call that failed may still have been carried out.
    until_answered("a release", || async {
        match client.release(TEAM, "long", &[]).await {
            Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
            other => other.map(drop),
        }
    })
    .await;
    let used = PRICE * granted.len() as i64;
    let books = wait_for("the leases to come back, as the team is idle", || async {
        Some(client.books(TEAM).await).filter(|books| books.balance.held == 0)
    })
    .await;
    assert_eq!((books.balance.used, books.balance.remaining), (used, INCLUDED - used));
    assert_eq!((books.calls, books.credits), (granted.len() as i64, used));
}

/// A team that calls at a steady rate.
struct BusyTeam {
    client: Client,
    pace: Interval,
    calls: u64,
    granted: Vec<(String, Vec<u8>)>,
}

impl BusyTeam {
    /// Sends the next call, which must proceed at its first attempt. One in four begins a run.
    async fn call(&mut self) -> Proceed {
        self.pace.tick().await;
        self.calls += 1;
        let id = format!("r-{}", self.calls);
        let request = if self.calls.is_multiple_of(4) {
            CheckAndReserveRequest { run_id: format!("run-{}", self.calls), ..block(TEAM, &id, "gpt-4o") }
        } else {
            prompt_test(TEAM, &id, "gpt-4o")
        };
        let decision = self.client.reserve(request).await.unwrap_or_else(|status| panic!("{id}: {status:?}"));
        let tollgate::proto::v1::check_and_reserve_response::Decision::Proceed(proceed) = decision else {
            panic!("{id} is suspended")
        };
        self.granted.push((id, proceed.grant.to_vec()));
        proceed
    }

    /// Calls until it was answered only from leases for as long as demand is remembered.
    async fn is_answered_from_leases(&mut self) {
        let mut in_a_row = 0;
        while in_a_row < 5 * CALLS_PER_SECOND {
            assert!(self.calls < 60 * CALLS_PER_SECOND, "it is not answered from leases");
            in_a_row = if is_leased(&self.call().await) { in_a_row + 1 } else { 0 };
        }
    }
}

fn is_leased(proceed: &Proceed) -> bool {
    let held = read_grant(&proceed.grant, &Id::parse(&proceed.reservation_id).unwrap()).unwrap();
    held.backing != Backing::Record
}

fn pace() -> Duration {
    Duration::from_millis(1_000 / CALLS_PER_SECOND)
}
