//! kill -9 of the sidecar and of its store, between a reserve and its commit, and during many commits. Every
//! acknowledged commit is in the store exactly once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::Semaphore;
use tollgate::{
    domain::id::Id,
    gate::{Gate, GateOptions},
    proto::v1::{CheckAndReserveRequest, Proceed, ReservationState},
    store::{Store, StoreOptions},
};
use tonic::Code;

use crate::suite::support::{
    alive,
    client::{Client, block, professional_team, prompt_test, team_without_seat, until_answered},
    kept::Kept,
    servers::Engine,
    sidecar::Sidecar,
    wait_for,
};

const TEAM: &str = "team";

#[tokio::test]
async fn commit_after_a_sidecar_crash_is_charged_once_on_a_file() {
    commit_after_the_sidecar_was_killed(&Kept::embedded()).await;
}

#[tokio::test]
async fn commit_after_a_sidecar_crash_is_charged_once_on_redis() {
    commit_after_the_sidecar_was_killed(&Kept::durable(Engine::Redis)).await;
}

#[tokio::test]
async fn commit_after_a_sidecar_crash_is_charged_once_on_valkey() {
    commit_after_the_sidecar_was_killed(&Kept::durable(Engine::Valkey)).await;
}

async fn commit_after_the_sidecar_was_killed(kept: &Kept) {
    let mut sidecar = kept.sidecar();
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    let granted = client.proceed(block(TEAM, "with-grant", "gpt-4")).await;
    client.proceed(block(TEAM, "without-grant", "gpt-4o")).await;
    client.proceed(block(TEAM, "not-committed", "gpt-3.5")).await;

    sidecar.kill();
    sidecar.restart();

    charged_once(&client, &granted).await;
    let again = client.proceed(block(TEAM, "not-committed", "gpt-3.5")).await;
    assert!(again.replayed && again.state() == ReservationState::Open);
    let again = client.proceed(block(TEAM, "with-grant", "gpt-4")).await;
    assert!(again.replayed && again.state() == ReservationState::Committed);

    sidecar.kill();
    sidecar.restart();

    charged_already(&client, &granted).await;
}

/// A commit while Redis is down is charged once when Redis is back.
#[tokio::test]
async fn commit_during_a_redis_crash_is_charged_once() {
    commit_while_the_store_was_killed(Engine::Redis).await;
}

/// A commit while Valkey is down is charged once when Valkey is back.
#[tokio::test]
async fn commit_during_a_valkey_crash_is_charged_once() {
    commit_while_the_store_was_killed(Engine::Valkey).await;
}

async fn commit_while_the_store_was_killed(engine: Engine) {
    let mut kept = Kept::durable(engine);
    let sidecar = kept.sidecar();
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    let granted = client.proceed(block(TEAM, "with-grant", "gpt-4")).await;
    client.proceed(block(TEAM, "without-grant", "gpt-4o")).await;
    client.proceed(block(TEAM, "not-committed", "gpt-3.5")).await;

    kept.server().kill();
    let commit = client.commit(TEAM, "with-grant", &granted.grant).await;
    assert_eq!(commit.unwrap_err().code(), Code::Unavailable);
    let reserve = client.reserve(block(TEAM, "another", "gpt-4o")).await;
    assert_eq!(reserve.unwrap_err().code(), Code::Unavailable, "an outage of the store is an error, not a Suspend");
    kept.server().restart();

    charged_once(&client, &granted).await;
    assert_eq!(client.reservation(TEAM, "not-committed").await.state(), ReservationState::Open);
    assert!(!client.proceed(block(TEAM, "another", "gpt-4o")).await.replayed);

    kept.server().kill();
    kept.server().restart();

    let again = until_answered("a commit", || client.commit(TEAM, "with-grant", &granted.grant)).await;
    assert!(again.replayed);
}

/// Commits two of the three reservations, each several times, and checks the usage.
async fn charged_once(client: &Client, granted: &Proceed) {
    for (id, grant, credits) in [("with-grant", &granted.grant[..], 25), ("without-grant", &[], 2)] {
        let commit = until_answered("a commit", || client.commit(TEAM, id, grant)).await;
        assert_eq!((commit.credits, commit.replayed, commit.late), (credits, false, false));
    }
    charged_already(client, granted).await;
}

async fn charged_already(client: &Client, granted: &Proceed) {
    for (id, grant, credits) in [("with-grant", &granted.grant[..], 25), ("without-grant", &[], 2)] {
        for grant in [grant, &[]] {
            let commit = until_answered("a repeated commit", || client.commit(TEAM, id, grant)).await;
            assert_eq!((commit.credits, commit.replayed), (credits, true));
        }
    }
    let books = client.books(TEAM).await;
    assert_eq!((books.balance.used, books.balance.held, books.balance.remaining), (27, 5, 68));
    assert_eq!((books.calls, books.credits), (2, 27));
}

/// The credits that a crashed sidecar held come back, although no call about the team reaches the next sidecar.
#[tokio::test]
async fn holds_of_a_crashed_sidecar_return_without_a_call() {
    let mut kept = Kept::durable(Engine::Redis);
    let mut sidecar = kept.sidecar();
    // The hold is long enough for the next sidecar to sweep all teams before it runs out.
    abandon(&sidecar, 5).await;
    sidecar.kill();
    sidecar.restart();

    comes_back(&mut kept).await;
}

/// They come back also if the store was away at the first sweep of the next sidecar.
#[tokio::test(flavor = "multi_thread")]
async fn holds_return_after_a_store_outage_at_the_start() {
    let mut kept = Kept::durable(Engine::Redis);
    let mut sidecar = kept.sidecar();
    abandon(&sidecar, 1).await;
    sidecar.kill();
    let options = StoreOptions { wait: Duration::from_millis(250), ..StoreOptions::default() };
    let store = Store::open(&kept.location(), options).await.unwrap();
    let next = Gate::open(store, GateOptions::default()).await.unwrap();
    kept.server().kill();
    let (stop, running) = alive(&next);
    // When this call has timed out, the sweep that began before has timed out too.
    next.team(&Id::parse(TEAM).unwrap()).await.unwrap_err();
    kept.server().restart();

    comes_back(&mut kept).await;
    drop(stop);
    running.await.unwrap();
}

/// Creates the team, and a reservation that is never settled.
async fn abandon(sidecar: &Sidecar, hold_seconds: i64) {
    let client = sidecar.client();
    // A sidecar that starts reads the first team of the list, for its log.
    client.put_team(team_without_seat("first", 100)).await;
    client.put_team(team_without_seat(TEAM, 100)).await;
    let hold_for = Some(prost_types::Duration { seconds: hold_seconds, nanos: 0 });
    client.proceed(CheckAndReserveRequest { hold_for, ..block(TEAM, "abandoned", "gpt-4") }).await;
}

/// Waits until no reservation of the team is open. Asks only the server, so that no sidecar learns of the team.
async fn comes_back(kept: &mut Kept) {
    let mut connection = kept.server().connect();
    let key = format!("tollgate:{{{TEAM}}}:holds");
    wait_for("the abandoned credits to come back", || {
        let open: u64 = redis::cmd("ZCARD").arg(&key).query(&mut connection).unwrap();
        async move { (open == 0).then_some(()) }
    })
    .await;
}

const COMMITS: usize = 500;
const TASKS: usize = 8;

/// Number of acknowledged commits after which the crash comes.
const ACKNOWLEDGED: usize = 200;

/// Maximum number of commits that are sent before the crash.
const TRIED: usize = 400;

const MODELS: [(&str, i64); 4] = [("gpt-4o", 2), ("gpt-3.5", 5), ("gpt-4o-mini", 15), ("gpt-4", 25)];

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_or_doubled_in_a_sidecar_crash_on_a_file() {
    commits_outlive(&mut Kept::embedded(), Crash::OfTheSidecar).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_or_doubled_in_a_sidecar_crash_on_redis() {
    commits_outlive(&mut Kept::durable(Engine::Redis), Crash::OfTheSidecar).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_or_doubled_in_a_redis_crash() {
    commits_outlive(&mut Kept::durable(Engine::Redis), Crash::OfTheStore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_is_lost_or_doubled_in_a_valkey_crash() {
    commits_outlive(&mut Kept::durable(Engine::Valkey), Crash::OfTheStore).await;
}

#[derive(PartialEq, Eq)]
enum Crash {
    OfTheSidecar,
    OfTheStore,
}

async fn commits_outlive(kept: &mut Kept, crash: Crash) {
    let mut sidecar = kept.sidecar();
    let client = sidecar.client();
    client.put_team(professional_team(TEAM, 1_000)).await;
    client.set_overages(TEAM, true, None).await;
    let grants = Arc::new(reserve_all(&sidecar).await);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let permits = Arc::new(Semaphore::new(TRIED));
    let share = |task| {
        let share = Share { first: task, client: sidecar.client(), grants: grants.clone(), permits: permits.clone() };
        tokio::spawn(share.commit_all(acknowledged.clone()))
    };
    let tasks: Vec<_> = (0..TASKS).map(share).collect();

    let enough = || async { (acknowledged.load(Ordering::SeqCst) >= ACKNOWLEDGED).then_some(()) };
    wait_for("enough acknowledged commits", enough).await;
    match crash {
        Crash::OfTheSidecar => sidecar.kill(),
        Crash::OfTheStore => kept.server().kill(),
    }
    permits.add_permits(COMMITS - TRIED);
    match crash {
        Crash::OfTheSidecar => sidecar.restart(),
        Crash::OfTheStore => kept.server().restart(),
    }
    let charged: i64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();

    let expected: i64 = (0..COMMITS).map(|index| MODELS[index % MODELS.len()].1).sum();
    assert_eq!(charged, expected);
    let books = client.books(TEAM).await;
    let balance = books.balance;
    assert_eq!((books.calls, books.credits), (COMMITS as i64, expected));
    assert_eq!((balance.used, balance.run_completion, balance.above_hold, balance.held), (expected, 0, 0, 0));
    // 5,875 credits were used, and 1,000 are included.
    assert_eq!((balance.overage, client.blocks(TEAM).await), (5_000, vec![1, 2, 3, 4, 5]));
    for (index, grant) in grants.iter().enumerate() {
        let id = id(index);
        let again = until_answered("a repeated commit", || client.commit(TEAM, &id, grant)).await;
        assert_eq!((again.credits, again.replayed), (MODELS[index % MODELS.len()].1, true));
    }
    assert_eq!(client.books(TEAM).await.balance, balance);
}

fn id(index: usize) -> String {
    format!("r-{index}")
}

/// Makes all reservations, and returns their grants in order.
async fn reserve_all(sidecar: &Sidecar) -> Vec<Vec<u8>> {
    let client = sidecar.client();
    let mut grants = Vec::with_capacity(COMMITS);
    for first in (0..COMMITS).step_by(50) {
        let batch = (first..COMMITS.min(first + 50)).map(|index| {
            let model = MODELS[index % MODELS.len()].0;
            let client = &client;
            async move { client.proceed(prompt_test(TEAM, &id(index), model)).await.grant.to_vec() }
        });
        grants.extend(join_all(batch).await);
    }
    grants
}

/// The commits of one task.
struct Share {
    first: usize,
    client: Client,
    grants: Arc<Vec<Vec<u8>>>,
    permits: Arc<Semaphore>,
}

impl Share {
    /// Sends each commit until it is answered. Returns the charged credits.
    async fn commit_all(self, acknowledged: Arc<AtomicUsize>) -> i64 {
        let mut charged = 0;
        for index in (self.first..COMMITS).step_by(TASKS) {
            self.permits.acquire().await.unwrap().forget();
            let (id, grant) = (id(index), &self.grants[index]);
            charged += until_answered("a commit", || self.client.commit(TEAM, &id, grant)).await.credits;
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        charged
    }
}
