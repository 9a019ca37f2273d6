//! Four sidecars answer from leases while they and their server are paused, killed, shut down and restarted at random.
//! Each acknowledged commit must be in the books once, nothing may exceed the allotment at any time, and the credits of
//! dead sidecars must come back.
//!
//! `TOLLGATE_CHAOS_SECONDS` sets the duration. `TOLLGATE_SEED` repeats the order of events and calls of a run, as far
//! as the machine does.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;

use super::{
    answers::Answers,
    executor::{Executor, now_ms},
    faults::{Chaos, FaultCounts, make_teams},
    fleet::{Fleet, SIDECARS, TEAMS},
    ledger::check_books,
    sampler::sample,
};
use crate::suite::support::{
    servers::{Engine, Server},
    sidecar::Sidecar,
};

/// Default duration, in seconds. On a slow machine the test runs until enough has happened.
const SECONDS: u64 = 15;

/// Maximum additional time on a slow machine, in milliseconds.
const MORE_MS: i64 = 60_000;

const EXECUTORS: u64 = 40;

/// A short lease term and short holds: the credits of a dead sidecar come back after eight seconds.
const ESCROW: [&str; 4] = ["--escrow=auto", "--lease-term=4s", "--lease-hold=3s", "--store-wait=250ms"];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Sidecars are killed while they hold leases, and the books are right throughout.
#[tokio::test(flavor = "multi_thread")]
async fn the_books_stay_right_when_sidecars_with_leases_die() {
    let seed = from_environment("TOLLGATE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let engine = if rng.bool() { Engine::Redis } else { Engine::Valkey };
    println!("TOLLGATE_SEED={seed} ({engine:?})");
    let server = Server::start_durable(engine);
    let sidecars: [Sidecar; SIDECARS] = std::array::from_fn(|_| Sidecar::start_with(&server.location(), &ESCROW));
    let fleet = Arc::new(Fleet::of(sidecars.each_ref().map(Sidecar::client)));
    make_teams(&fleet.clients[0]).await;

    let end = Arc::new(AtomicBool::new(false));
    let chaos = Chaos { fleet: fleet.clone(), end: end.clone() };
    let sampled = Arc::new(AtomicBool::new(false));
    let teams = TEAMS.iter().map(|team| team.id.to_owned()).collect();
    let sampling = sample(server.path("socket"), teams, sampled.clone());
    let server_faults = tokio::spawn(chaos.clone().inject_into_server(server, rng.fork()));
    let sidecar_faults = sidecars.into_iter().enumerate();
    let sidecar_faults = sidecar_faults
        .map(|(which, sidecar)| tokio::spawn(chaos.clone().inject_into_sidecar(sidecar, which, rng.fork())));
    let sidecar_faults: Vec<_> = sidecar_faults.collect();
    let answered = Arc::new(Mutex::new(Answers::default()));
    let raising = tokio::spawn(chaos.raise_limits(answered.clone(), rng.fork()));
    let executor = |number| Executor::new(number, rng.fork(), fleet.clone(), end.clone(), answered.clone());
    let executors: Vec<_> = (0..EXECUTORS).map(executor).map(|executor| tokio::spawn(executor.work())).collect();

    let seconds = from_environment("TOLLGATE_CHAOS_SECONDS").unwrap_or(SECONDS);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let latest_ms = now_ms() + MORE_MS;
    while now_ms() < latest_ms && !answered.lock().unwrap().are_sufficient() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    end.store(true, Ordering::Relaxed);
    join_all(executors).await.into_iter().for_each(Result::unwrap);
    raising.await.unwrap();
    let (server, server_times) = server_faults.await.unwrap();
    let (sidecars, times): (Vec<Sidecar>, Vec<FaultCounts>) =
        join_all(sidecar_faults).await.into_iter().map(Result::unwrap).unzip();
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    println!("{answered}");
    println!("the server: {server_times:?}; the sidecars: {times:?}");
    check_books(&server, &fleet.clients, &answered.commits).await;
    sampled.store(true, Ordering::Relaxed);
    let samples = sampling.join().unwrap().unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{samples:?}");

    // The test is only meaningful if leases were used and outlived the sidecars that took them.
    assert!(answered.are_sufficient(), "too little has happened: {answered}");
    assert!(samples.taken > 1_000 && samples.with_leases > 100, "{samples:?}");
    assert!(times.iter().map(|times| times.killed).sum::<u32>() > 3, "{times:?}");
    assert!(times.iter().map(|times| times.stopped).sum::<u32>() > 3, "{times:?}");
    assert!(server_times.killed > 0 && server_times.stopped > 0, "{server_times:?}");
    drop(sidecars);
}
