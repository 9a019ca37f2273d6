//! The faults that are injected into the sidecars and their server while calls continue.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    answers::Answers,
    fleet::{ChaosTeam, Fleet, TEAMS},
};
use crate::suite::support::{client::Client, servers::Server, sidecar::Sidecar, signal, wait_until};

/// Number of suspended calls of a team before its included credits are raised.
const SUSPENDED_BEFORE_RAISE: u64 = 10;

/// The sidecars, and whether the test should end.
#[derive(Clone)]
pub(super) struct Chaos {
    pub(super) fleet: Arc<Fleet>,
    pub(super) end: Arc<AtomicBool>,
}

/// How often each fault was injected into a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaultCounts {
    pub(super) killed: u32,
    pub(super) stopped: u32,
    pub(super) ended: u32,
}

impl Chaos {
    fn is_running(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    /// Kills, pauses and shuts down one sidecar at random. At the end it runs.
    pub(super) async fn inject_into_sidecar(
        self,
        mut sidecar: Sidecar,
        which: usize,
        mut rng: Rng,
    ) -> (Sidecar, FaultCounts) {
        let mut times = FaultCounts::default();
        while self.is_running() {
            pause(&mut rng, 1_000..4_000).await;
            // Each sidecar is paused and killed at least once. The rest is random.
            let what = match times {
                FaultCounts { stopped: 0, .. } => 0,
                FaultCounts { killed: 0, .. } => 4,
                _ => rng.u32(..8),
            };
            match what {
                0..4 => {
                    times.stopped += 1;
                    sidecar.signal("STOP");
                    // Some pauses are longer than its leases, and some end with a kill.
                    let longest_ms = if rng.u32(..4) == 0 { 4_000 } else { 500 };
                    pause(&mut rng, 20..longest_ms).await;
                    if rng.u32(..4) > 0 {
                        sidecar.signal("CONT");
                        continue;
                    }
                    times.killed += 1;
                    sidecar.kill();
                    self.fleet.was_killed(which);
                }
                4..7 => {
                    times.killed += 1;
                    sidecar.kill();
                    self.fleet.was_killed(which);
                }
                _ => {
                    times.ended += 1;
                    sidecar.signal("TERM");
                    sidecar = blocking(sidecar, |sidecar| wait_until("it ends", || sidecar.ended().is_some())).await;
                }
            }
            pause(&mut rng, 0..1_000).await;
            sidecar = blocking(sidecar, Sidecar::restart_until_ready).await;
        }
        (sidecar, times)
    }

    /// Kills and pauses the server in turn, at random times. At the end it runs.
    pub(super) async fn inject_into_server(self, mut server: Server, mut rng: Rng) -> (Server, FaultCounts) {
        let mut times = FaultCounts::default();
        while self.is_running() {
            pause(&mut rng, 2_000..6_000).await;
            if times.stopped < times.killed {
                times.stopped += 1;
                signal(server.process_id(), "STOP");
                pause(&mut rng, 20..1_000).await;
                signal(server.process_id(), "CONT");
            } else {
                times.killed += 1;
                // A server that was paused before it was killed has calls in its socket that it never read.
                if rng.bool() {
                    signal(server.process_id(), "STOP");
                    pause(&mut rng, 20..300).await;
                }
                server.kill();
                pause(&mut rng, 20..500).await;
                server = blocking(server, Server::restart).await;
            }
        }
        (server, times)
    }

    /// Raises the included credits of teams after some of their calls were suspended. So they reach their limit
    /// repeatedly until the test ends, however fast the machine is.
    pub(super) async fn raise_limits(self, answered: Arc<Mutex<Answers>>, mut rng: Rng) {
        let raised = TEAMS.iter().filter(|team| team.raise > 0);
        let mut raised: Vec<_> = raised.map(|team| (team, team.included, SUSPENDED_BEFORE_RAISE)).collect();
        while self.is_running() {
            pause(&mut rng, 100..800).await;
            for (team, included, due) in &mut raised {
                let suspended = answered.lock().unwrap().suspended.get(team.id).copied().unwrap_or_default();
                if suspended >= *due {
                    (*included, *due) = (*included + team.raise, suspended + SUSPENDED_BEFORE_RAISE);
                    let client = rng.choice(&self.fleet.clients).unwrap();
                    client.put_team(team.terms(*included)).await;
                }
            }
        }
    }
}

/// Creates the teams.
pub(super) async fn make_teams(operator: &Client) {
    for team in &TEAMS {
        operator.put_team(team.terms(team.included)).await;
        let ChaosTeam { id, cap_blocks, .. } = team;
        if cap_blocks.is_some() {
            operator.set_overages(id, true, *cap_blocks).await;
        }
    }
}

async fn pause(rng: &mut Rng, ms: std::ops::Range<u64>) {
    sleep(Duration::from_millis(rng.u64(ms))).await;
}

/// Runs blocking work on another thread.
async fn blocking<T: Send + 'static>(mut subject: T, work: impl FnOnce(&mut T) + Send + 'static) -> T {
    spawn_blocking(move || {
        work(&mut subject);
        subject
    })
    .await
    .unwrap()
}
