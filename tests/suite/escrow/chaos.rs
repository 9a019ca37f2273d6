//! Four sidecars that answer from leases, while they and their server are stopped, killed, ended and restarted at random: every
//! acknowledged commit is in the books once, nothing is above the allotment at any time, and the credits of the dead come back.
//!
//! `TOLLGATE_CHAOS_SECONDS` makes it shorter or longer; `TOLLGATE_SEED` repeats the order of events and calls of a run, as far as
//! the machine does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use tokio::sync::RwLock;

use super::{
    executor::{Answered, Executor},
    fleet::{Fleet, SIDECARS, TEAMS},
    ledger::{Commits, are_right},
    sampler::{Samples, sample},
    torment::{Story, Times, make_teams},
};
use crate::suite::support::{
    servers::{Engine, Server},
    sidecar::Sidecar,
};

/// So long the chaos lasts unless it is said otherwise.
const SECONDS: u64 = 20;

const EXECUTORS: u64 = 40;

/// The shortest term there is, and short holds: the credits of a sidecar that died are away for six seconds.
const ESCROW: [&str; 4] = ["--escrow=auto", "--lease-term=2s", "--lease-hold=3s", "--store-wait=250ms"];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_with_leases_in_hand_the_books_are_right_throughout() {
    let seed = from_environment("TOLLGATE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let engine = if rng.bool() { Engine::Redis } else { Engine::Valkey };
    println!("TOLLGATE_SEED={seed} ({engine:?})");
    let server = Server::start_durable(engine);
    let sidecars: [Sidecar; SIDECARS] = std::array::from_fn(|_| Sidecar::start_with(&server.location(), &ESCROW));
    let fleet = Arc::new(Fleet::of(sidecars.each_ref().map(Sidecar::client)));
    make_teams(&fleet.clients[0]).await;

    let end = Arc::new(AtomicBool::new(false));
    let story = Story { fleet: fleet.clone(), end: end.clone(), server_is_there: Arc::new(RwLock::new(())) };
    let sampled = Arc::new(AtomicBool::new(false));
    let teams = TEAMS.iter().map(|team| team.id.to_owned()).collect();
    let sampling = sample(server.path("socket"), teams, sampled.clone());
    let tormented = tokio::spawn(story.clone().torment_server(server, rng.fork()));
    let torments = sidecars.into_iter().enumerate();
    let torments = torments.map(|(which, sidecar)| tokio::spawn(story.clone().torment_sidecar(sidecar, which, rng.fork())));
    let torments: Vec<_> = torments.collect();
    let raising = tokio::spawn(story.raise_limits(rng.fork()));
    let work = |number| tokio::spawn(Executor::new(number, rng.fork(), fleet.clone(), end.clone()).work());
    let executors: Vec<_> = (0..EXECUTORS).map(work).collect();

    tokio::time::sleep(Duration::from_secs(from_environment("TOLLGATE_CHAOS_SECONDS").unwrap_or(SECONDS))).await;
    end.store(true, Ordering::Relaxed);
    let answered: Vec<_> = join_all(executors).await.into_iter().map(Result::unwrap).collect();
    raising.await.unwrap();
    let (server, server_times) = tormented.await.unwrap();
    let (sidecars, times): (Vec<Sidecar>, Vec<Times>) =
        join_all(torments).await.into_iter().map(Result::unwrap).unzip();
    let commits = tell(&answered, &times, server_times);
    are_right(&server, &fleet.clients, &commits).await;
    sampled.store(true, Ordering::Relaxed);
    let samples = sampling.join().unwrap().unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{samples:?}");
    was_what_it_is_about(&answered, &samples, &times, server_times);
    drop(sidecars);
}

/// Prints what happened, and gathers the commits.
fn tell(answered: &[Answered], times: &[Times], server: Times) -> Commits {
    let sum = |number: fn(&Answered) -> u64| answered.iter().map(number).sum::<u64>();
    println!(
        "{} commits ({} late; of leased ones {} elsewhere, {} after who granted was killed), {} of leases proceeded, {} suspended",
        sum(|answered| answered.commits.len() as u64),
        sum(|answered| answered.late),
        sum(|answered| answered.elsewhere),
        sum(|answered| answered.after_kill),
        sum(|answered| answered.leased),
        sum(|answered| answered.suspended),
    );
    println!(
        "{} released, {} extended, {} abandoned, {} runs ended, {} calls of unknown outcome",
        sum(|answered| answered.released),
        sum(|answered| answered.extended),
        sum(|answered| answered.abandoned),
        sum(|answered| answered.ended_runs),
        sum(|answered| answered.unknown),
    );
    println!("the server: {server:?}; the sidecars: {times:?}");
    let mut commits = BTreeMap::new();
    for answered in answered {
        commits.extend(answered.commits.clone());
    }
    commits
}

/// There were leases, of teams near their limit too, and they outlived who took them.
fn was_what_it_is_about(answered: &[Answered], samples: &Samples, times: &[Times], server: Times) {
    let sum = |number: fn(&Answered) -> u64| answered.iter().map(number).sum::<u64>();
    assert!(samples.taken > 1_000 && samples.most_leased > 0, "{samples:?}");
    for team in ["hot", "near", "blocks"] {
        assert!(samples.with_leases[team] > 0, "{team} had no leases: {samples:?}");
    }
    assert!(sum(|answered| answered.leased) > 300);
    assert!(sum(|answered| answered.elsewhere) > 100 && sum(|answered| answered.after_kill) > 10);
    assert!(sum(|answered| answered.suspended) > 0 && sum(|answered| answered.late) > 0);
    assert!(times.iter().map(|times| times.killed).sum::<u32>() > 3, "{times:?}");
    assert!(times.iter().map(|times| times.stopped).sum::<u32>() > 3, "{times:?}");
    assert!(server.killed + server.stopped > 1, "{server:?}");
}
