//! Sidecars that are stopped and restarted while executors work: no call that is retried by the retry rule fails, and nothing is
//! charged twice.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tollgate::{
    domain::{
        id::Id,
        reservation::{Backing, read_grant},
    },
    proto::v1::{Proceed, ReservationState, check_and_reserve_response::Decision},
    serve::{ServeOptions, Sidecar as InProcess},
    store::StoreLocation,
};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::suite::{
    probes::{scrape, value},
    support::{
        Leasing,
        client::{Client, block, channel, is_of_unknown_outcome, team_without_seat},
        escrow,
        kept::Kept,
        servers::{Engine, Server},
        sidecar::Sidecar,
        wait_for, wait_until,
    },
};

const TEAM: &str = "team";

/// Number of concurrent executors.
const EXECUTORS: usize = 8;

/// What the executors have done, and whether they must stop.
#[derive(Default)]
struct Work {
    is_over: AtomicBool,
    committed: AtomicUsize,
    /// Number of sidecars that ended.
    ended: AtomicUsize,
    /// Number of commits that were repeated.
    repeated: AtomicUsize,
}

/// Repeats a call by the retry rule, each time at the next sidecar, until it is answered. Returns the answer and the number of
/// repeats.
async fn by_the_rule<T, Attempt>(
    clients: &[Client],
    first: usize,
    mut call: impl FnMut(Client) -> Attempt,
) -> (T, usize)
where
    Attempt: Future<Output = Result<T, Status>>,
{
    for attempt in 0..10_000 {
        match call(clients[(first + attempt) % clients.len()].clone()).await {
            Ok(answer) => return (answer, attempt),
            Err(status) if is_of_unknown_outcome(&status) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(status) => panic!("a call that is retried by the rule failed: {status:?}"),
        }
    }
    panic!("no sidecar answers");
}

/// Waits like a call of a model. Every second executor waits long, and sometimes until a sidecar has ended.
async fn call_the_model(executor: usize, call: usize, work: &Work) {
    let takes_ms = if executor.is_multiple_of(2) { 10 } else { call * 377 % 2_000 };
    tokio::time::sleep(Duration::from_millis(takes_ms as u64)).await;
    let ended = work.ended.load(Ordering::Relaxed);
    let outlasts = !executor.is_multiple_of(2) && call.is_multiple_of(4);
    while outlasts && work.ended.load(Ordering::Relaxed) == ended && !work.is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs an executor: it reserves, waits, and commits, at any sidecar that answers.
async fn execute(clients: Vec<Client>, executor: usize, work: Arc<Work>) {
    for call in 0.. {
        if work.is_over.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("executor-{executor}-{call}");
        let request = block(TEAM, &id, "gpt-4o");
        let reserve = |client: Client| {
            let request = request.clone();
            async move { client.reserve(request).await }
        };
        let (Decision::Proceed(Proceed { grant, .. }), _) = by_the_rule(&clients, executor + call, reserve).await
        else {
            panic!("the team has credits for all of them");
        };
        call_the_model(executor, call, &work).await;
        let commit = |client: Client| {
            let (id, grant) = (id.clone(), grant.clone());
            async move { client.commit(TEAM, &id, &grant).await }
        };
        let (answer, repeats) = by_the_rule(&clients, executor + call, commit).await;
        assert_eq!(answer.credits, 2);
        work.committed.fetch_add(1, Ordering::Relaxed);
        work.repeated.fetch_add(repeats.min(1), Ordering::Relaxed);
    }
}

/// Restarts each of these sidecars `restarts` times, concurrently and under load, and calls `look` before each restart. Asserts
/// that every commit is charged once.
async fn survives(sidecars: Vec<Sidecar>, restarts: usize, look: Arc<dyn Fn() + Send + Sync>) {
    let clients: Vec<_> = sidecars.iter().map(Sidecar::client).collect();
    clients[0].put_team(team_without_seat(TEAM, 100_000_000)).await;
    let work = Arc::new(Work::default());
    let executors: Vec<_> =
        (0..EXECUTORS).map(|executor| tokio::spawn(execute(clients.clone(), executor, Arc::clone(&work)))).collect();
    let sidecars: Arc<Vec<_>> = Arc::new(sidecars.into_iter().map(Mutex::new).collect());
    let restarting = (0..sidecars.len()).map(|place| {
        let (sidecars, work, look) = (Arc::clone(&sidecars), Arc::clone(&work), Arc::clone(&look));
        tokio::task::spawn_blocking(move || {
            let mut sidecar = sidecars[place].lock().unwrap();
            for _ in 0..restarts {
                let committed = work.committed.load(Ordering::Relaxed);
                wait_until("calls are answered", || work.committed.load(Ordering::Relaxed) > committed + 2 * EXECUTORS);
                look();
                sidecar.signal("TERM");
                wait_until("the sidecar ends", || sidecar.ended().is_some());
                assert_eq!(sidecar.ended().unwrap().code(), Some(0), "{}", sidecar.stderr());
                work.ended.fetch_add(1, Ordering::Relaxed);
                sidecar.restart();
            }
        })
    });
    for restarting in restarting.collect::<Vec<_>>() {
        restarting.await.unwrap();
    }
    work.is_over.store(true, Ordering::Relaxed);
    for executor in executors {
        executor.await.unwrap();
    }
    let committed = i64::try_from(work.committed.load(Ordering::Relaxed)).unwrap();
    assert!(work.repeated.load(Ordering::Relaxed) > 0, "no commit met a restart");
    let books = clients[0].books(TEAM).await;
    assert_eq!((books.balance.used, books.calls, books.credits), (2 * committed, committed, 2 * committed));
}

/// 80 restarts of sidecars with leases on one Redis fail no commit.
#[tokio::test]
async fn restarts_with_leases_on_redis_fail_no_commit() {
    let server = Server::start_durable(Engine::Redis);
    let arguments = ["--escrow=auto", "--drain-delay=100ms"];
    let sidecars = (0..5).map(|_| Sidecar::start_with(&server.location(), &arguments)).collect();
    let leased = Arc::new(AtomicUsize::new(0));
    let (found, watched) = (Arc::clone(&leased), Mutex::new(server.connect()));
    let look = move || {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("tollgate:{team}:lease:*").query(&mut watched.lock().unwrap()).unwrap();
        found.fetch_add(usize::from(!keys.is_empty()), Ordering::Relaxed);
    };
    survives(sidecars, 16, Arc::new(look)).await;
    let leased = leased.load(Ordering::Relaxed);
    assert!(leased > 40, "of 80 sidecars that were stopped, {leased} were so amid leases");
}

/// 20 restarts of a sidecar on its file fail no commit.
#[tokio::test]
async fn restarts_on_a_file_fail_no_commit() {
    let kept = Kept::embedded();
    survives(vec![Sidecar::start_with(&kept.location(), &["--drain-delay=100ms"])], 20, Arc::new(|| {})).await;
}

/// During `drain_delay` everything is served, and new connections are accepted.
#[tokio::test]
async fn everything_is_served_during_the_drain_delay() {
    let mut sidecar = Sidecar::start_with(&StoreLocation::Memory, &["--probe=127.0.0.1:0", "--drain-delay=5s"]);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    let watched = HealthCheckRequest { service: "readiness".to_owned() };
    let mut watch = HealthClient::new(channel(&sidecar.probe())).watch(watched).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    sidecar.signal("TERM");
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    for (id, client) in [("of an old connection", &client), ("of a new one", &sidecar.client())] {
        let id = id.replace(' ', "-");
        let decision = client.reserve(block(TEAM, &id, "gpt-4o")).await.unwrap();
        let Decision::Proceed(Proceed { grant, .. }) = decision else { panic!("{decision:?}") };
        assert_eq!(client.commit(TEAM, &id, &grant).await.unwrap().credits, 2);
    }
    for service in ["", "tollgate.v1.AccountService", "tollgate.v1.UsageService"] {
        let asked = HealthCheckRequest { service: service.to_owned() };
        let reported = HealthClient::new(channel(sidecar.admin())).check(asked).await.unwrap().into_inner();
        assert_eq!(reported.status(), ServingStatus::NotServing, "{service}");
    }
    let alive = HealthCheckRequest { service: "liveness".to_owned() };
    let alive = HealthClient::new(channel(&sidecar.probe())).check(alive).await.unwrap().into_inner();
    assert_eq!(alive.status(), ServingStatus::Serving);
    wait_until("the sidecar ends", || sidecar.ended().is_some());
    assert_eq!(sidecar.ended().unwrap().code(), Some(0));
}

/// At shutdown a sidecar gives its leases back, and records what it opened, so that other sidecars know of it.
#[tokio::test]
async fn shutdown_gives_leases_back_and_records_open_calls() {
    let server = Server::start(Engine::Redis);
    let options =
        |leasing| ServeOptions { store: server.location(), escrow: escrow(leasing), ..ServeOptions::default() };
    let start = async |leasing| {
        let sidecar = InProcess::start(options(leasing)).await.unwrap();
        let client = Client::of(&sidecar.listen_address().to_string(), &sidecar.admin_address().to_string());
        (sidecar, client)
    };
    let (sidecar, client) = start(Leasing::AtOnce).await;
    client.put_team(team_without_seat(TEAM, 1_000)).await;
    let calls = AtomicUsize::new(0);
    let open = || async {
        let id = format!("call-{}", calls.fetch_add(1, Ordering::Relaxed));
        let grant = client.proceed(block(TEAM, &id, "gpt-4o")).await.grant;
        let held = read_grant(&grant, &Id::parse(&id).unwrap()).unwrap();
        matches!(held.backing, Backing::Lease { .. }).then_some(id)
    };
    let id = wait_for("a reservation from a lease", open).await;
    sidecar.shutdown().await;

    let (sidecar, client) = start(Leasing::Off).await;
    // Leased credits count as held.
    let held = i64::try_from(2 * calls.load(Ordering::Relaxed)).unwrap();
    assert_eq!(client.books(TEAM).await.balance.held, held);
    assert_eq!(client.reservation(TEAM, &id).await.state(), ReservationState::Open);
    sidecar.shutdown().await;
}

/// A store that comes back during `drain_delay` does not make the sidecar ready again.
#[tokio::test]
async fn a_draining_sidecar_is_never_ready_again() {
    let mut server = Server::start_durable(Engine::Redis);
    let sidecar = Sidecar::start_with(&server.location(), &["--probe=127.0.0.1:0", "--drain-delay=60s"]);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    let probe = sidecar.probe();
    let is = |gauge: &str, level: f64| value(&scrape(&probe), gauge) == level;
    sidecar.signal("TERM");
    wait_until("it is not ready", || is("tollgate_ready", 0.0));
    server.kill();
    wait_until("the loss is noticed", || is("tollgate_store_up", 0.0));
    server.restart();
    wait_until("the store is found again", || is("tollgate_store_up", 1.0));
    client.proceed(block(TEAM, "served", "gpt-4o")).await;
    assert!(is("tollgate_ready", 0.0));
    for address in [probe.as_str(), sidecar.data(), sidecar.admin()] {
        let health = HealthClient::new(channel(address)).check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(health.into_inner().status(), ServingStatus::NotServing, "{address}");
    }
}
