//! A sidecar that starts before its store is up: it waits, alive and not ready.

use std::net::{TcpListener, TcpStream};

use tollgate::{clock::Clock, store::StoreLocation};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::suite::{
    probes::{health, scrape, value},
    support::{
        client::{block, team_without_seat},
        servers::{Engine, Server},
        sidecar::Sidecar,
        wait_for, wait_until,
    },
};

const TEAM: &str = "team";

/// Log line of the start of the wait.
const WAIT_BEGINS: &str = "the store is not available yet; waiting for it";

/// Log line of its end.
const REACHED: &str = "the store is reached";

/// Returns an address that was free a moment ago. The probe listener needs a known one, because a sidecar prints its addresses
/// only when it is ready.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts a sidecar, and waits until it is alive.
async fn begin(store: &StoreLocation, more: &[&str]) -> (Sidecar, String) {
    let probe = free_address();
    let sidecar = Sidecar::begin_with(store, &[more, &["--probe", &probe]].concat());
    wait_for("the sidecar to be alive", || async { health(&probe, "liveness").await.ok() }).await;
    (sidecar, probe)
}

fn lines_with(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn a_sidecar_waits_for_a_store_that_starts_later() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let mut server = Server::start_durable(engine);
        server.kill();
        let (mut sidecar, probe) = begin(&server.location(), &[]).await;
        wait_until("the wait is logged", || sidecar.stderr().contains(WAIT_BEGINS));
        assert_eq!(health(&probe, "liveness").await, Ok(ServingStatus::Serving));
        for name in ["", "readiness", "tollgate.v1.QuotaService"] {
            assert_eq!(health(&probe, name).await, Ok(ServingStatus::NotServing), "{name}");
        }
        let scraped = scrape(&probe);
        assert_eq!([value(&scraped, "tollgate_ready"), value(&scraped, "tollgate_store_up")], [0.0; 2]);

        server.restart();
        sidecar.wait_until_ready();
        let client = sidecar.client();
        client.put_team(team_without_seat(TEAM, 100)).await;
        client.proceed(block(TEAM, "first", "gpt-4o")).await;
        assert_eq!(health(&probe, "readiness").await, Ok(ServingStatus::Serving));
        let log = sidecar.stderr();
        assert_eq!((lines_with(&log, WAIT_BEGINS), lines_with(&log, REACHED)), (1, 1), "{log}");
        let begins = log.lines().find(|line| line.contains(WAIT_BEGINS)).unwrap();
        assert!(begins.contains("error=") && begins.contains("connection refused"), "{begins}");
    }
}

/// A server that loads its records has no answer for calls yet. It is waited for, because it will have one.
#[tokio::test]
async fn a_server_that_loads_its_records_is_waited_for() {
    for engine in [Engine::Redis, Engine::Valkey] {
        // Each key takes 100 ms, and the server answers between two keys.
        let slowly =
            ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"];
        let mut server = Server::start_with(engine, &slowly);
        let mut connection = server.connect();
        for number in 0..40 {
            let () =
                redis::cmd("SET").arg(format!("other:{number}")).arg("x".repeat(1_100)).query(&mut connection).unwrap();
        }
        let () = redis::cmd("SAVE").query(&mut connection).unwrap();
        server.kill();
        server.restart_loading();
        let (mut sidecar, probe) = begin(&server.location(), &[]).await;
        wait_until("the wait is logged", || sidecar.stderr().contains(WAIT_BEGINS));
        assert!(sidecar.stderr().contains("BusyLoading"), "{}", sidecar.stderr());
        assert_eq!(health(&probe, "readiness").await, Ok(ServingStatus::NotServing));
        sidecar.wait_until_ready();
    }
}

/// The wait ends at a signal, also while an attempt to reach the store is in progress.
#[tokio::test]
async fn a_signal_ends_the_wait_at_once() {
    // The first server is absent. The second accepts connections and never answers.
    let nowhere = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = StoreLocation::Redis(format!("redis+unix://{}/none", nowhere.path().display()));
    let hung = StoreLocation::Redis(format!("redis://{}", silent.local_addr().unwrap()));
    for (store, signal) in [(&absent, "TERM"), (&absent, "INT"), (&hung, "TERM")] {
        let (mut sidecar, probe) = begin(store, &[]).await;
        let begun_ms = Clock::System.monotonic_ms();
        sidecar.signal(signal);
        wait_until("the sidecar ends", || sidecar.ended().is_some());
        let took_ms = Clock::System.monotonic_ms() - begun_ms;
        assert!(took_ms < 2_000, "it took {took_ms} ms");
        assert_eq!(sidecar.ended().unwrap().code(), Some(0), "{}", sidecar.stderr());
        assert!(TcpStream::connect(&probe).is_err());
    }
}

#[tokio::test]
async fn after_the_wait_the_cause_is_in_the_first_line() {
    let mut server = Server::start_durable(Engine::Redis);
    server.kill();
    let begun_ms = Clock::System.monotonic_ms();
    let (mut sidecar, _) = begin(&server.location(), &["--store-start-wait=2s"]).await;
    wait_until("the sidecar ends", || sidecar.ended().is_some());
    assert!(Clock::System.monotonic_ms() - begun_ms >= 2_000);
    assert_eq!(sidecar.ended().unwrap().code(), Some(69));
    let log = sidecar.stderr();
    let error = log.lines().find(|line| line.starts_with("tollgate: ")).unwrap();
    assert!(error.contains("cannot be reached: connection refused"), "{log}");
    assert!(!log.contains(REACHED), "{log}");
}

/// A store in the sidecar's own process or on its disk is not waited for.
#[tokio::test]
async fn a_locked_embedded_store_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = StoreLocation::Embedded(directory.path().to_owned());
    let _first = Sidecar::start(&store);
    let mut second = Sidecar::begin_with(&store, &[]);
    wait_until("the second sidecar ends", || second.ended().is_some());
    assert_eq!(second.ended().unwrap().code(), Some(69));
    assert!(!second.stderr().contains(WAIT_BEGINS), "{}", second.stderr());
}
