//! Chaos test: two sidecars on a server that is stopped, continued, killed and restarted at random. Every acknowledged
//! commit is charged once, and no team exceeds its allotment.
//!
//! `TOLLGATE_CHAOS_CALLS` sets the number of calls. `TOLLGATE_SEED` repeats the random decisions of a run; the timing
//! still varies with the machine. Every client follows the retry rule, so each reservation is acknowledged in the end.
//! One reservation in sixteen is abandoned, and its credits come back when its hold expires.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use tollgate::proto::v1::{
    CheckAndReserveRequest, CommitRequest, ReleaseRequest, check_and_reserve_response::Decision,
};
use tonic::Status;

use super::stage::{asks_to_repeat, now_ms};
use crate::suite::support::{
    client::{Client, is_of_unknown_outcome, professional_team, prompt_test},
    servers::{Engine, Server},
    sidecar::{Sidecar, argument},
    signal, wait_for,
};

const CALLS: i64 = 100_000;
const TASKS: u64 = 48;
const TEAMS: u64 = 4;

const MODELS: [(&str, i64); 4] = [("gpt-4o", 2), ("gpt-3.5", 5), ("gpt-4o-mini", 15), ("gpt-4", 25)];

/// Typical pause before a client repeats a call, in milliseconds. RetryInfo asks for a second, with which there would
/// be few calls while the store is away.
const PAUSE_MS: u64 = 15;

/// The answers that one task got.
#[derive(Default)]
struct Answered {
    /// The credits that each commit charged, by team and reservation.
    commits: BTreeMap<(String, String), i64>,
    suspended: u64,
    refused: u64,
}

/// The executor of one task.
struct Executor {
    task: u64,
    rng: Rng,
    clients: [Client; 2],
    calls: Arc<AtomicI64>,
    answered: Answered,
}

impl Executor {
    async fn work(mut self) -> Answered {
        let mut number = 0;
        while self.calls.load(Ordering::Relaxed) > 0 {
            number += 1;
            self.run_block(number).await;
        }
        self.answered
    }

    /// Runs one block by the retry rule: each call is repeated with the same id and content, at either sidecar, until
    /// it is answered.
    async fn run_block(&mut self, number: u64) {
        let team = format!("team-{}", self.rng.u64(..TEAMS));
        let id = format!("r-{}-{number}", self.task);
        let (model, price) = MODELS[self.rng.usize(..MODELS.len())];
        let hold_for = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let mut request = CheckAndReserveRequest { hold_for, ..prompt_test(&team, &id, model) };
        let fate = self.rng.u32(..16);
        if fate == 0 {
            request.hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        }
        let granted = loop {
            let refused = self.answered.refused;
            match self.call(|client| reserve(client, request.clone())).await {
                Decision::Proceed(granted) => break granted,
                // If the answer to an earlier attempt was lost, the reservation may exist, and the other sidecar may
                // refuse it from memory. Repeated with the same id, the sidecar asks the store.
                Decision::Suspend(_) if self.answered.refused > refused => {}
                Decision::Suspend(_) => {
                    self.answered.suspended += 1;
                    return;
                }
            }
        };
        assert_eq!(granted.credits, price);
        let (team_id, reservation_id, grant) = (team.clone(), id.clone(), granted.grant);
        match fate {
            0 => {}
            1 | 2 => {
                let request = ReleaseRequest { team_id, reservation_id, grant };
                self.call(|client| release(client, request.clone())).await;
            }
            _ => {
                let request = CommitRequest { team_id, reservation_id, grant, ..CommitRequest::default() };
                let charged = self.call(|client| commit(client, request.clone())).await;
                assert_eq!(charged, price);
                if fate == 3 {
                    assert_eq!(self.call(|client| commit(client, request.clone())).await, price, "a repeated commit");
                }
                self.answered.commits.insert((team, id), charged);
            }
        }
    }

    async fn call<T, Attempt>(&mut self, mut attempt: impl FnMut(Client) -> Attempt) -> T
    where
        Attempt: Future<Output = Result<T, Status>>,
    {
        loop {
            self.calls.fetch_sub(1, Ordering::Relaxed);
            let client = self.clients[self.rng.usize(..2)].clone();
            match attempt(client).await {
                Ok(answer) => return answer,
                Err(status) if is_of_unknown_outcome(&status) => {
                    asks_to_repeat(&status);
                    self.answered.refused += 1;
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(PAUSE_MS / 2..2 * PAUSE_MS))).await;
                }
                Err(status) => panic!("{status:?}"),
            }
        }
    }
}

async fn reserve(client: Client, request: CheckAndReserveRequest) -> Result<Decision, Status> {
    client.reserve(request).await
}

async fn release(mut client: Client, request: ReleaseRequest) -> Result<(), Status> {
    client.quota.release(request).await.map(drop)
}

async fn commit(mut client: Client, request: CommitRequest) -> Result<i64, Status> {
    Ok(client.quota.commit(request).await?.into_inner().credits)
}

/// Stops, continues, kills and restarts the server until `end` is set. Returns the number of stops and of kills.
async fn torment(mut server: Server, mut rng: Rng, end: Arc<AtomicBool>) -> (Server, [u32; 2]) {
    let mut times = [0, 0];
    while !end.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(rng.u64(300..1_500))).await;
        let away = Duration::from_millis(rng.u64(20..600));
        if rng.bool() {
            times[0] += 1;
            signal(server.process_id(), "STOP");
            tokio::time::sleep(away).await;
            signal(server.process_id(), "CONT");
        } else {
            times[1] += 1;
            // A server that is stopped before it is killed leaves calls in its socket that it never read.
            if rng.bool() {
                signal(server.process_id(), "STOP");
                tokio::time::sleep(away).await;
            }
            server.kill();
            tokio::time::sleep(away).await;
            let restarting = tokio::task::spawn_blocking(move || {
                server.restart();
                server
            });
            server = restarting.await.unwrap();
        }
    }
    (server, times)
}

/// While the server is stopped, killed and restarted at random, every acknowledged commit is charged exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_a_chaotic_server() {
    let seed = std::env::var("TOLLGATE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    let engine = if rng.bool() { Engine::Redis } else { Engine::Valkey };
    println!("TOLLGATE_SEED={seed} ({engine:?})");
    let server = Server::start_durable(engine);
    let location = argument(&server.location());
    let sidecars = [0, 1].map(|_| {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let arguments = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--store-wait=250ms", "--store", &location];
        Sidecar::start_in(&directory, &arguments)
    });
    let all = std::env::var("TOLLGATE_CHAOS_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
    let operator = sidecars[0].client();
    for team in 0..TEAMS {
        // Less than the executors ask for, so that many calls are suspended and overages are bought up to the cap.
        operator.put_team(professional_team(&format!("team-{team}"), all * 2 / 5)).await;
        let cap_blocks = u32::try_from(all / 10_000).unwrap();
        operator.set_overages(&format!("team-{team}"), team % 2 == 0, Some(cap_blocks)).await;
    }

    let begun_ms = now_ms();
    let (calls, end) = (Arc::new(AtomicI64::new(all)), Arc::new(AtomicBool::new(false)));
    let tormenting = tokio::spawn(torment(server, rng.fork(), end.clone()));
    let executors = (0..TASKS).map(|task| {
        let clients = [sidecars[0].client(), sidecars[1].client()];
        let executor = Executor { task, rng: rng.fork(), clients, calls: calls.clone(), answered: Answered::default() };
        tokio::spawn(executor.work())
    });
    let answered: Vec<_> = join_all(executors.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
    let took_ms = now_ms() - begun_ms;
    end.store(true, Ordering::Relaxed);
    let (server, [hung, killed]) = tormenting.await.unwrap();

    let sum = |number: fn(&Answered) -> u64| answered.iter().map(number).sum::<u64>();
    let made = all - calls.load(Ordering::Relaxed);
    println!(
        "{made} calls in {took_ms} ms: {} commits, {} suspended, {} to repeat; {hung} hangs, {killed} kills",
        sum(|answered| answered.commits.len() as u64),
        sum(|answered| answered.suspended),
        sum(|answered| answered.refused),
    );
    let mut commits = BTreeMap::new();
    for answered in answered {
        commits.extend(answered.commits);
    }
    assert!(made >= all && hung + killed > 5);
    for team in (0..TEAMS).map(|team| format!("team-{team}")) {
        check_usage(&sidecars, &team, &commits).await;
    }
    check_records(&server, &commits);
}

/// Checks that the usage of a team, as both sidecars report it, is the sum of the acknowledged commits.
async fn check_usage(sidecars: &[Sidecar; 2], team: &str, commits: &BTreeMap<(String, String), i64>) {
    let of_team = commits.iter().filter(|((of, _), _)| of == team);
    let (mut calls, mut credits) = (0, 0);
    for (_, charged) in of_team {
        (calls, credits) = (calls + 1, credits + charged);
    }
    for sidecar in sidecars {
        let client = sidecar.client();
        let books = wait_for("abandoned credits to come back", || async {
            Some(client.books(team).await).filter(|books| books.balance.held == 0)
        })
        .await;
        let balance = books.balance;
        assert_eq!((books.calls, books.credits), (calls, credits), "{team}: {balance:?}");
        let allotment = balance.included + balance.waived + balance.overage;
        assert_eq!(balance.used + balance.run_completion + balance.above_hold, credits, "{team}: {balance:?}");
        assert!(balance.used <= allotment, "{team}: {balance:?}");
        assert_eq!((balance.run_completion, balance.above_hold), (0, 0), "{team}: {balance:?}");
        let blocks = client.blocks(team).await;
        assert_eq!(balance.overage, 1_000 * blocks.len() as i64, "{team}");
        assert!(blocks.iter().copied().eq(1..=blocks.len() as u32), "{team}: {blocks:?}");
    }
}

/// Checks that each acknowledged commit has a record with the credits of the answer.
fn check_records(server: &Server, commits: &BTreeMap<(String, String), i64>) {
    let mut connection = server.connect();
    let all: Vec<_> = commits.iter().collect();
    for some in all.chunks(500) {
        let keys: Vec<_> = some.iter().map(|((team, id), _)| format!("tollgate:{{{team}}}:reservation:{id}")).collect();
        let records: Vec<Option<String>> = redis::cmd("MGET").arg(keys).query(&mut connection).unwrap();
        for ((id, charged), record) in some.iter().zip(records) {
            let record = record.unwrap_or_else(|| panic!("{id:?} has no record"));
            let fields: Vec<_> = record.split('|').collect();
            assert_eq!((fields[2], fields[3]), ("committed", &*charged.to_string()), "{id:?}: {record}");
        }
    }
}
