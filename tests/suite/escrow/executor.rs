//! A flow executor of the test. It follows the documented retry rule: a call with an unknown outcome is repeated with
//! the same ID and content, at any sidecar.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tollgate::{
    clock::Clock,
    domain::{
        id::Id,
        reservation::{Backing, read_grant},
    },
    proto::v1::{
        BeginRunRequest, CheckAndReserveRequest, CommitRequest, CommitResponse, EndRunRequest, ExtendRequest,
        ReleaseRequest, ReservationState, begin_run_response, check_and_reserve_response::Decision,
    },
};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use super::{
    answers::Answers,
    fleet::{ChaosTeam, Fleet, SIDECARS, TEAMS},
};
use crate::suite::support::client::{Client, block, is_of_unknown_outcome, prompt_test};

const MODELS: [(&str, i64); 4] = [("gpt-4o", 2), ("gpt-3.5", 5), ("gpt-4o-mini", 15), ("gpt-4", 25)];

/// Maximum time until a call is answered, in milliseconds. Longer is a failure even in this test.
const MAX_WAIT_MS: i64 = 60_000;

/// Delay of a late commit, in milliseconds. It is after the quarantine of every lease that was in use at the reserve.
const LATE_MS: i64 = 9_000;

/// One executor.
pub(super) struct Executor {
    number: u64,
    rng: Rng,
    fleet: Arc<Fleet>,
    end: Arc<AtomicBool>,
    answered: Arc<Mutex<Answers>>,
    /// Its current run with each team, and the credits that the run has committed.
    runs: BTreeMap<&'static str, (String, i64)>,
    blocks: u64,
    /// Commits that are sent later, by their time and the number of their block.
    postponed: BTreeMap<(i64, u64), Reserved>,
}

/// A reservation.
#[derive(Clone)]
struct Reserved {
    team: &'static ChaosTeam,
    id: String,
    run: Option<String>,
    grant: Vec<u8>,
    is_leased: bool,
    /// The price of one unit in credits, and the number of units.
    price: i64,
    units: u32,
    /// The sidecar that granted it, and how often that had been killed by then.
    by: (usize, u64),
}

impl Executor {
    pub(super) fn new(
        number: u64,
        rng: Rng,
        fleet: Arc<Fleet>,
        end: Arc<AtomicBool>,
        answered: Arc<Mutex<Answers>>,
    ) -> Self {
        let (runs, postponed) = Default::default();
        Self { number, rng, fleet, end, answered, runs, blocks: 0, postponed }
    }

    /// Runs blocks until the test ends, and then sends the delayed commits.
    pub(super) async fn work(mut self) {
        while !self.end.load(Ordering::Relaxed) {
            self.run_block().await;
            self.commit_postponed(now_ms()).await;
        }
        self.commit_postponed(i64::MAX).await;
    }

    fn note<T>(&self, what: impl FnOnce(&mut Answers) -> T) -> T {
        what(&mut self.answered.lock().unwrap())
    }

    async fn commit_postponed(&mut self, until_ms: i64) {
        while let Some(entry) = self.postponed.first_entry().filter(|entry| entry.key().0 <= until_ms) {
            let reserved = entry.remove();
            self.commit(&reserved, None).await;
        }
    }

    fn postpone(&mut self, by_ms: i64, reserved: Reserved) {
        self.postponed.insert((now_ms() + by_ms, self.blocks), reserved);
    }

    async fn run_block(&mut self) {
        let team = self.random_team();
        let run = if self.rng.u32(..4) == 0 { None } else { self.run_of(team).await };
        let Some(reserved) = self.reserve(team, run).await else {
            // A suspended block is parked, and the executor continues with another one.
            tokio::time::sleep(Duration::from_millis(self.rng.u64(1..20))).await;
            return;
        };
        if self.rng.bool() {
            // The call of the model.
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..60))).await;
        }
        match self.rng.u32(..20) {
            0 => self.note(|answered| answered.abandoned += 1),
            1 | 2 => self.release(&reserved).await,
            3 => self.postpone(LATE_MS, reserved),
            4 => {
                self.extend(&reserved).await;
                self.commit(&reserved, None).await;
            }
            5 => {
                self.commit(&reserved, None).await;
                self.commit(&reserved, None).await;
            }
            // The actual use is less or more than reserved.
            6 => {
                let units = self.rng.u32(..reserved.units * 2 + 1);
                self.commit(&reserved, Some(units)).await;
            }
            // The model is slow. The sidecar that granted the call may be gone when it is committed.
            7..10 => {
                let slow_ms = self.rng.i64(200..2_000);
                self.postpone(slow_ms, reserved);
            }
            _ => self.commit(&reserved, None).await,
        }
        if self.rng.u32(..30) == 0 {
            self.end_run(team).await;
        }
    }

    async fn reserve(&mut self, team: &'static ChaosTeam, run: Option<String>) -> Option<Reserved> {
        self.blocks += 1;
        let id = format!("r-{}-{}", self.number, self.blocks);
        let (model, price) = match self.rng.usize(..=MODELS.len()) {
            0 => ("dall-e-3", team.image_credits()),
            other => MODELS[other - 1],
        };
        let units = if model == "dall-e-3" { self.rng.u32(1..6) } else { 1 };
        // A hold of four seconds is too long for a lease and is written through.
        let seconds = if self.rng.u32(..10) == 0 { 4 } else { self.rng.i64(1..=3) };
        let hold_for = Some(prost_types::Duration { seconds, nanos: 0 });
        let flow_id = format!("flow-{}", self.number % 3);
        let request = match &run {
            Some(run) => CheckAndReserveRequest { run_id: run.clone(), ..block(team.id, &id, model) },
            None => prompt_test(team.id, &id, model),
        };
        let request = CheckAndReserveRequest { flow_id, units, hold_for, ..request };
        let first = self.first_sidecar(team);
        let (answer, by) = self
            .until_answered(Some(first), request, |client, request| async move {
                client.quota.clone().check_and_reserve(request).await
            })
            .await;
        let granted = match answer.unwrap().decision.unwrap() {
            Decision::Suspend(_) => {
                self.note(|answered| *answered.suspended.entry(team.id).or_default() += 1);
                return None;
            }
            // An earlier attempt was granted so long ago that its hold has run out.
            Decision::Proceed(granted) if granted.state() == ReservationState::Expired && granted.replayed => {
                return None;
            }
            Decision::Proceed(granted) => granted,
        };
        assert_eq!((granted.state(), granted.credits), (ReservationState::Open, price * i64::from(units)));
        let held = read_grant(&granted.grant, &Id::parse(&id).unwrap()).unwrap();
        let is_leased = held.backing != Backing::Record;
        self.note(|answered| *answered.leased.entry(team.id).or_default() += u64::from(is_leased));
        Some(Reserved { team, id, run, grant: granted.grant.to_vec(), is_leased, price, units, by })
    }

    async fn commit(&mut self, reserved: &Reserved, units: Option<u32>) {
        let Reserved { team, id, grant, .. } = reserved;
        let (team_id, reservation_id, grant) = (team.id.to_owned(), id.clone(), grant.clone().into());
        let request = CommitRequest { team_id, reservation_id, grant, units, ..CommitRequest::default() };
        let (answer, by) = self
            .until_answered(None, request, |client, request| async move { client.quota.clone().commit(request).await })
            .await;
        let CommitResponse { credits, late, .. } = answer.unwrap_or_else(|status| panic!("{id}: {status:?}"));
        assert_eq!(credits, reserved.price * i64::from(units.unwrap_or(reserved.units)), "{id}");
        if self.note(|answered| answered.commits.insert((team.id, id.clone()), credits)).is_some() {
            return;
        }
        if let (Some(run), Some((current, committed))) = (&reserved.run, self.runs.get_mut(team.id))
            && run == current
        {
            *committed += credits;
        }
        let is_elsewhere = reserved.is_leased && by.0 != reserved.by.0;
        let is_after_kill = is_elsewhere && self.fleet.life(reserved.by.0) != reserved.by.1;
        self.note(|answered| {
            answered.late += u64::from(late);
            answered.elsewhere += u64::from(is_elsewhere);
            answered.after_kill += u64::from(is_after_kill);
        });
    }

    async fn release(&mut self, reserved: &Reserved) {
        let Reserved { team, id, grant, .. } = reserved;
        let request =
            ReleaseRequest { team_id: team.id.to_owned(), reservation_id: id.clone(), grant: grant.clone().into() };
        let (answer, _) = self
            .until_answered(None, request, |client, request| async move { client.quota.clone().release(request).await })
            .await;
        answer.unwrap_or_else(|status| panic!("{id}: {status:?}"));
        self.note(|answered| answered.released += 1);
    }

    async fn extend(&mut self, reserved: &Reserved) {
        let Reserved { team, id, grant, .. } = reserved;
        let hold_for = Some(prost_types::Duration { seconds: self.rng.i64(1..=5), nanos: 0 });
        let (team_id, reservation_id, grant) = (team.id.to_owned(), id.clone(), grant.clone().into());
        let request = ExtendRequest { team_id, reservation_id, grant, hold_for };
        let (answer, _) = self
            .until_answered(None, request, |client, request| async move { client.quota.clone().extend(request).await })
            .await;
        match answer {
            Ok(_) => self.note(|answered| answered.extended += 1),
            Err(status) => assert_eq!(reason(&status), "RESERVATION_EXPIRED", "{id}: {status:?}"),
        }
    }

    /// Returns the current run with a team. A new run begins with BeginRun or with its first block.
    async fn run_of(&mut self, team: &'static ChaosTeam) -> Option<String> {
        if let Some((run, _)) = self.runs.get(team.id) {
            return Some(run.clone());
        }
        let run = format!("run-{}-{}", self.number, self.blocks);
        if self.rng.bool() {
            let flow_id = format!("flow-{}", self.number % 3);
            let request = BeginRunRequest { team_id: team.id.to_owned(), flow_id, run_id: run.clone() };
            let (answer, _) = self
                .until_answered(None, request, |client, request| async move {
                    client.quota.clone().begin_run(request).await
                })
                .await;
            if let begin_run_response::Decision::Suspend(_) = answer.unwrap().decision.unwrap() {
                self.note(|answered| *answered.suspended.entry(team.id).or_default() += 1);
                return None;
            }
        }
        self.runs.insert(team.id, (run.clone(), 0));
        Some(run)
    }

    async fn end_run(&mut self, team: &'static ChaosTeam) {
        let Some((run, committed)) = self.runs.remove(team.id) else { return };
        let request = EndRunRequest { team_id: team.id.to_owned(), run_id: run.clone() };
        let (answer, _) = self
            .until_answered(None, request, |client, request| async move { client.quota.clone().end_run(request).await })
            .await;
        match answer {
            // Commits after a crash that lost the run's record are not counted in it.
            Ok(ended) => {
                assert!((0..=committed).contains(&ended.credits), "{run}: {ended:?}, and {committed} committed")
            }
            Err(status) => assert_eq!(reason(&status), "RUN_NOT_FOUND", "{run}: {status:?}"),
        }
        self.note(|answered| answered.ended_runs += 1);
    }

    /// Sends a request to this sidecar, or to any, and then to others until one answers. Returns the answer, the
    /// sidecar, and how often that was killed. An error that blames the request is an answer.
    async fn until_answered<Ask: Clone, Answer, Attempt>(
        &mut self,
        first: Option<usize>,
        request: Ask,
        call: impl Fn(Client, Request<Ask>) -> Attempt,
    ) -> (Result<Answer, Status>, (usize, u64))
    where
        Attempt: Future<Output = Result<Response<Answer>, Status>>,
    {
        let begun_ms = now_ms();
        let mut which = first.unwrap_or_else(|| self.rng.usize(..SIDECARS));
        loop {
            let mut attempt = Request::new(request.clone());
            attempt.set_timeout(Duration::from_millis(self.rng.u64(100..800)));
            match call(self.fleet.clients[which].clone(), attempt).await {
                Err(status) if is_of_unknown_outcome(&status) => {
                    self.note(|answered| answered.unknown += 1);
                    assert!(now_ms() - begun_ms < MAX_WAIT_MS, "no sidecar answers: {status:?}");
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(10..60))).await;
                    which = self.rng.usize(..SIDECARS);
                }
                answer => return (answer.map(Response::into_inner), (which, self.fleet.life(which))),
            }
        }
    }

    /// Most calls of a team go to two of the sidecars, so that the team is busy there on a slow machine too.
    fn first_sidecar(&mut self, team: &ChaosTeam) -> usize {
        if self.rng.u32(..4) == 0 {
            return self.rng.usize(..SIDECARS);
        }
        let place = TEAMS.iter().position(|other| other.id == team.id).unwrap();
        (place + self.rng.usize(..2)) % SIDECARS
    }

    fn random_team(&mut self) -> &'static ChaosTeam {
        let all: u32 = TEAMS.iter().map(|team| team.share).sum();
        let mut drawn = self.rng.u32(..all);
        let found = TEAMS.iter().find(|team| {
            let is_it = drawn < team.share;
            drawn = drawn.saturating_sub(team.share);
            is_it
        });
        found.unwrap()
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

pub(super) fn now_ms() -> i64 {
    Clock::System.monotonic_ms()
}
