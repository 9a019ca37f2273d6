//! The escrow: the leases that this sidecar holds, and the reservations that it opened from them.
//!
//! A reservation is opened in memory, without asking the store and without waiting. Requests to the store about leases
//! are the gate's task (`gate/leases.rs`). Time is an argument. This module must not know the store.

mod open;
mod options;
mod request;
mod runs;
mod team;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use uuid::Uuid;

use self::{open::OpenKey, runs::KnownRuns, team::TeamEscrow};
pub use self::{
    options::{EscrowMode, EscrowOptions, LeasePolicy},
    request::{EscrowAnswer, EscrowRequest, LeaseRequest},
    runs::{KnownRun, RunStatus},
};
use crate::domain::{
    id::Id,
    lease::{Lease, LeaseRemainder},
    policy::Policy,
    reservation::{BackedReservation, Basis, Reservation, ReservationTerms, State},
};

/// Maximum number of open reservations from leases. Further calls are written through. Each takes about 230 bytes.
const MAX_OPEN: usize = 4_000_000;

/// Maximum number of teams that may have leases.
const MAX_TEAMS: usize = 100_000;

/// Time after which a team without calls, leases and open reservations is removed, in milliseconds.
const TEAM_IDLE_MS: i64 = 60_000;

/// The held leases of all teams, and the reservations opened from them.
#[derive(Debug)]
pub struct Escrow {
    options: EscrowOptions,
    teams: DashMap<Id, TeamEscrow, RandomState>,
    runs: KnownRuns,
    /// Prefix of lease IDs: random, so that no other sidecar, and no earlier process of this one, has the same IDs.
    sidecar: String,
    leases: AtomicU64,
    open: AtomicUsize,
}

impl Escrow {
    /// Returns an escrow without leases.
    pub fn new(options: EscrowOptions) -> Self {
        // Half of the UUID, with 62 random bits. It is part of every grant, so it is kept short.
        let (_, random) = Uuid::new_v4().as_u64_pair();
        Self {
            options,
            teams: DashMap::default(),
            runs: KnownRuns::default(),
            sidecar: BASE64_URL_SAFE_NO_PAD.encode(random.to_be_bytes()),
            leases: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        }
    }

    /// Returns the options.
    pub fn options(&self) -> &EscrowOptions {
        &self.options
    }

    /// Returns whether any call may be answered from a lease.
    pub fn is_on(&self) -> bool {
        self.options.mode != EscrowMode::Off
    }

    /// Returns the ID of the next lease. No other lease ever has it.
    pub fn next_lease_id(&self) -> Option<Id> {
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        Id::parse(&format!("{}.{number}", self.sidecar)).ok()
    }

    /// Answers a call from a held lease, if one covers it. Also returns the lease to request if the team needs another
    /// one.
    ///
    /// The caller must request that lease, and report the result with [`Escrow::add_lease`] or
    /// [`Escrow::lease_not_granted`].
    pub fn answer(&self, request: &EscrowRequest<'_>, policy: &Policy) -> (EscrowAnswer, Option<LeaseRequest>) {
        let Some(mut team) = self.teams.get_mut(request.team) else {
            return (EscrowAnswer::AskStore, self.request_lease(request));
        };
        let key = team.open.key(request.reservation);
        if request.is_named && team.open.contains(key, request.reservation) {
            return (EscrowAnswer::Exists, None);
        }
        team.demand.note(request.draw.credits, request.at_ms);
        let status = self.runs.status(request.team, request.content, request.at_ms, policy);
        let answered = match status {
            RunStatus::Ended => EscrowAnswer::RunEnded,
            RunStatus::OfAnotherFlow => EscrowAnswer::RunOfAnotherFlow,
            RunStatus::TooOld => EscrowAnswer::AskStore,
            RunStatus::Unknown if !request.may_begin_run => EscrowAnswer::AskStore,
            RunStatus::Current | RunStatus::Unknown | RunStatus::None => {
                self.open_from(&mut team, request, key, status == RunStatus::Unknown)
            }
        };
        team.last_request_credits = request.draw.credits;
        let is_answered = !matches!(answered, EscrowAnswer::AskStore);
        if is_answered && self.options.policy.wait_for_lease {
            // The next call that no lease covers requests one and waits for it.
            return (answered, None);
        }
        (answered, team.request_lease(&self.options, request.draw.terms_version, request.at_ms))
    }

    /// Adds a lease that was granted. Returns what remains of it if it has been recalled in the meantime. The caller
    /// must return that to the store.
    pub fn add_lease(&self, team: &Id, lease: Lease, open_leases: usize) -> Option<LeaseRemainder> {
        let Some(mut team) = self.teams.get_mut(team) else { return Some(lease.into_remainder()) };
        team.add_lease(lease, open_leases)
    }

    /// Reports that no lease was granted. None is requested before that time of the sidecar's clock, in milliseconds.
    pub fn lease_not_granted(&self, team: &Id, not_before_ms: i64) {
        if let Some(mut team) = self.teams.get_mut(team) {
            team.lease_not_granted(not_before_ms);
        }
    }

    /// Removes all leases of a team and returns what remains of them, to be returned to the store. Leases that were
    /// granted at or before `recalled_at_ms`, in Unix milliseconds of the store, are not added any more.
    pub fn recall_leases(&self, team: &Id, recalled_at_ms: i64) -> Vec<LeaseRemainder> {
        let Some(mut team) = self.teams.get_mut(team) else { return Vec::new() };
        team.recalled(recalled_at_ms);
        team.remove_all()
    }

    /// Removes the leases of a team that were granted under another version of its terms, or all of them if they were
    /// recalled. `recalled_at_ms` is the time of the recall, in Unix milliseconds of the store. Returns what remains of
    /// them.
    pub fn remove_outdated_leases(
        &self,
        team: &Id,
        terms_version: i64,
        recalled_at_ms: Option<i64>,
    ) -> Vec<LeaseRemainder> {
        if !self.has_leases(team) {
            return Vec::new();
        }
        if let Some(recalled_at_ms) = recalled_at_ms {
            return self.recall_leases(team, recalled_at_ms);
        }
        let Some(mut team) = self.teams.get_mut(team) else { return Vec::new() };
        team.remove_if(|lease| lease.terms_version != terms_version)
    }

    /// Returns whether a team has leases.
    pub fn has_leases(&self, team: &Id) -> bool {
        self.teams.get(team).is_some_and(|team| team.has_leases())
    }

    /// Returns whether any team has leases.
    pub fn has_any_lease(&self) -> bool {
        self.teams.iter().any(|team| team.has_leases())
    }

    /// Returns the number of held leases, and the credits that can still be drawn from them.
    pub fn held_leases(&self) -> (usize, i64) {
        self.teams
            .iter()
            .map(|team| team.held_leases())
            .fold((0, 0), |(leases, credits), (leases_of_team, credits_of_team)| {
                (leases + leases_of_team, credits + credits_of_team)
            })
    }

    /// Removes leases that are over, used up, or of teams without recent calls, for at most `limit` teams. Returns what
    /// remains of them. `at_ms` is a time of the sidecar's clock. Teams that have nothing left here are removed.
    pub fn evict_leases(&self, at_ms: i64, limit: usize) -> Vec<(Id, Vec<LeaseRemainder>)> {
        let mut evicted = Vec::new();
        for mut team in self.teams.iter_mut() {
            let remainders = team.evict_leases(&self.options, at_ms);
            if !remainders.is_empty() {
                evicted.push((team.key().clone(), remainders));
            }
            if evicted.len() >= limit {
                break;
            }
        }
        self.teams.retain(|_, team| !team.is_idle(at_ms, TEAM_IDLE_MS));
        evicted
    }

    /// Removes all leases and returns what remains of them.
    pub fn remove_all_leases(&self) -> Vec<(Id, Vec<LeaseRemainder>)> {
        let mut all: Vec<_> = self.teams.iter_mut().map(|mut team| (team.key().clone(), team.remove_all())).collect();
        all.retain(|(_, remainders)| !remainders.is_empty());
        all
    }

    /// Returns a reservation that was opened here and is not settled.
    pub fn find(&self, team: &Id, id: &Id) -> Option<BackedReservation> {
        self.find_with_grant(team, id).map(|(held, _)| held)
    }

    /// Returns a reservation that was opened here and is not settled, and its grant.
    pub fn find_with_grant(&self, team: &Id, id: &Id) -> Option<(BackedReservation, Arc<[u8]>)> {
        self.teams.get(team)?.open.find(id)
    }

    /// Removes a reservation that was settled or got a record of its own. Returns whether it was open here.
    pub fn close_reservation(&self, team: &Id, id: &Id) -> bool {
        if self.open.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let was_open = self.teams.get_mut(team).is_some_and(|mut team| team.open.remove(id));
        if was_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        was_open
    }

    /// Returns reservations whose hold has run out at a time of the store, in Unix milliseconds, at most `limit` per
    /// team. Each is returned only once, unless [`Escrow::note_due`] is called for it.
    pub fn take_due(&self, now_ms: i64, limit: usize) -> Vec<(Id, Vec<(Id, BackedReservation)>)> {
        let mut due = Vec::new();
        for mut team in self.teams.iter_mut() {
            let reservations = team.open.take_due(now_ms, limit);
            if !reservations.is_empty() {
                due.push((team.key().clone(), reservations));
            }
        }
        due
    }

    /// Records that a due reservation could not be expired yet.
    pub fn note_due(&self, team: &Id, id: &Id, due_ms: i64) {
        if let Some(mut team) = self.teams.get_mut(team) {
            team.open.note_due(id, due_ms);
        }
    }

    /// Returns at most `limit` reservations that are open here, to be given records of their own.
    pub fn list_open(&self, limit: usize) -> Vec<(Id, Vec<(Id, BackedReservation)>)> {
        let mut listed = Vec::new();
        let mut room = limit;
        for team in &self.teams {
            let reservations: Vec<_> = team.open.iter().take(room).collect();
            room -= reservations.len();
            if !reservations.is_empty() {
                listed.push((team.key().clone(), reservations));
            }
        }
        listed
    }

    /// Returns the number of reservations that are open here.
    pub fn open_reservation_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the runs that this sidecar knows.
    pub fn runs(&self) -> &KnownRuns {
        &self.runs
    }

    /// Records the demand of a call that is not answered from a lease. Returns the lease to request, as
    /// [`Escrow::answer`] does.
    pub fn request_lease(&self, request: &EscrowRequest<'_>) -> Option<LeaseRequest> {
        if self.teams.len() >= MAX_TEAMS {
            return None;
        }
        let mut team = self.teams.entry(request.team.clone()).or_default();
        team.demand.note(request.draw.credits, request.at_ms);
        team.last_request_credits = request.draw.credits;
        team.request_lease(&self.options, request.draw.terms_version, request.at_ms)
    }

    fn open_from(
        &self,
        team: &mut TeamEscrow,
        request: &EscrowRequest<'_>,
        key: OpenKey,
        new_run: bool,
    ) -> EscrowAnswer {
        if request.hold_ms > self.options.terms.hold_ms || self.open.load(Ordering::Relaxed) >= MAX_OPEN {
            return EscrowAnswer::AskStore;
        }
        let Some((lease, created_at_ms)) = team.draw(&request.draw, request.at_ms, request.dry_run) else {
            return EscrowAnswer::AskStore;
        };
        let reservation = Reservation {
            content: request.content.clone(),
            terms: ReservationTerms { cycle: lease.cycle, basis: Basis::Allotment, ..request.terms.clone() },
            created_at_ms,
            expires_at_ms: created_at_ms + request.hold_ms,
            state: State::Open,
            settled_at_ms: None,
        };
        if request.dry_run {
            return EscrowAnswer::Opened { reservation, grant: Arc::default(), new_run: false };
        }
        let lease_id = lease.id.clone();
        let grant = team.open.insert(key, request.reservation, &lease_id, &reservation);
        self.open.fetch_add(1, Ordering::Relaxed);
        EscrowAnswer::Opened { reservation, grant, new_run }
    }
}
