//! What this sidecar has of teams' allotments in advance: leases in hand, and the reservations that were opened from them.
//!
//! A reservation is opened inside the entry of its team, without waiting for anybody; what is asked of the store about leases is
//! the gate's to do (`gate/leases.rs`). Time is an argument. Nothing here knows the store, and nothing waits.

mod open;
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

pub use self::runs::{KnownRun, RunStatus};
use self::{open::OpenKey, runs::KnownRuns, team::TeamEscrow};
use crate::domain::{
    id::Id,
    lease::{Draw, Lease, LeaseRemainder, LeaseTerms, MAX_LEASE_HOLD_MS},
    policy::Policy,
    reservation::{BackedReservation, Basis, Content, Reservation, ReservationTerms, State},
};

/// At most so many reservations are open from leases; beyond, they are written through. Each takes some 230 bytes.
const MAX_OPEN: usize = 4_000_000;

/// At most so many teams may have leases.
const MAX_TEAMS: usize = 100_000;

/// A team that nobody asked for, and that has nothing here, is forgotten after so long, in milliseconds.
const TEAM_IDLE_MS: i64 = 60_000;

/// Whether, and how, calls are answered from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowOptions {
    /// For which teams.
    pub mode: EscrowMode,
    /// For how long leases are drawn from, and what is drawn from them held.
    pub terms: LeaseTerms,
    /// Maximum size of one lease, in credits.
    pub max_lease_credits: i64,
    /// When a lease is taken for a team.
    pub policy: LeasePolicy,
}

/// For which kinds of store leases are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscrowMode {
    /// For none. Every call is written through.
    Off,
    /// For stores outside this process. A store in memory answers as fast as a lease does, and the embedded store's promise is
    /// that every answered reservation is on disk.
    Auto,
    /// For every kind of store.
    On,
}

/// When a lease is taken for a team, and how large it is. The defaults suit production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// Whether leases are only taken for teams that call often enough for a lease to save store calls.
    pub only_busy_teams: bool,
    /// Minimum size of a lease, in calls at the price of the call that needs it. No smaller lease is granted.
    pub min_calls: i64,
    /// Minimum size that is asked for, in calls at the price of the call that needs it. More is asked for if the team's demand is
    /// higher.
    pub usual_calls: i64,
    /// Whether a call that no held lease covers waits for a new lease. If `false`, that call is written through, and new leases
    /// are taken in the background before the held ones run out.
    pub wait_for_lease: bool,
    /// Pause after a request for a lease was refused, in milliseconds. Until it is over, the team's calls are written through.
    pub retry_pause_ms: i64,
}

impl Default for EscrowOptions {
    fn default() -> Self {
        Self {
            mode: EscrowMode::Auto,
            terms: LeaseTerms { term_ms: 30_000, hold_ms: MAX_LEASE_HOLD_MS },
            max_lease_credits: 10_000,
            policy: LeasePolicy::default(),
        }
    }
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { only_busy_teams: true, min_calls: 8, usual_calls: 8, wait_for_lease: false, retry_pause_ms: 250 }
    }
}

/// The leases in hand of all teams, and what was opened from them.
#[derive(Debug)]
pub struct Escrow {
    options: EscrowOptions,
    teams: DashMap<Id, TeamEscrow, RandomState>,
    runs: KnownRuns,
    /// Makes lease ids unlike those of every other sidecar, and of this one before it was restarted.
    sidecar: String,
    leases: AtomicU64,
    open: AtomicUsize,
}

/// A call that may be answered from memory.
#[derive(Debug)]
pub struct EscrowRequest<'a> {
    /// The team.
    pub team: &'a Id,
    /// The reservation's id.
    pub reservation: &'a Id,
    /// The caller chose the id, so that it may be a repeat.
    pub is_named: bool,
    /// What is asked.
    pub content: &'a Content,
    /// What it costs and when that is valid, under the terms that are believed.
    pub draw: Draw,
    /// What was decided of it, but for the cycle.
    pub terms: ReservationTerms,
    /// How long to hold the credits, in milliseconds.
    pub hold_ms: i64,
    /// Decide, and open nothing.
    pub dry_run: bool,
    /// There is room to record a run that nobody here has seen.
    pub may_begin_run: bool,
    /// The sidecar's clock, in milliseconds: it decides the draw and the end of the hold.
    pub at_ms: i64,
}

/// What memory says to a call.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once, and the large one is the common one")]
pub enum EscrowAnswer {
    /// The reservation is opened, or would be.
    Opened {
        /// The reservation.
        reservation: Reservation,
        /// What the caller settles it with.
        grant: Arc<[u8]>,
        /// Nobody here has seen its run: it has to be recorded.
        new_run: bool,
    },
    /// The id has an open reservation here.
    Exists,
    /// The run has ended.
    RunEnded,
    /// The run's id belongs to a run of another flow.
    RunOfAnotherFlow,
    /// Ask the store.
    AskStore,
}

/// A lease that a team should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Credits that are likely to be asked for while it lasts.
    pub credits: i64,
    /// A lease of less does not pay.
    pub min_credits: i64,
    /// How many leases of the team were open when one was granted last, whoever has them.
    pub open_leases: usize,
}

impl Escrow {
    /// Nothing in hand.
    pub fn new(options: EscrowOptions) -> Self {
        // The half of it that is nothing but random, 62 bits. Every grant has it, so it is written short.
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

    /// How calls are answered from memory.
    pub fn options(&self) -> &EscrowOptions {
        &self.options
    }

    /// Whether any call is answered from memory.
    pub fn is_on(&self) -> bool {
        self.options.mode != EscrowMode::Off
    }

    /// The id of the next lease, which no other ever had.
    pub fn next_lease_id(&self) -> Option<Id> {
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        Id::parse(&format!("{}.{number}", self.sidecar)).ok()
    }

    /// Answers a call from a lease in hand, if there is one that covers it; and says whether the team should have another one. Whoever
    /// is told so has to say what became of that, with [`Escrow::add_lease`] or [`Escrow::lease_not_granted`].
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
            // The next call that no lease covers asks for one, and waits for it.
            return (answered, None);
        }
        (answered, team.request_lease(&self.options, request.draw.terms_version, request.at_ms))
    }

    /// A lease was granted. The result is what to give back at once: it was called back meanwhile.
    pub fn add_lease(&self, team: &Id, lease: Lease, open_leases: usize) -> Option<LeaseRemainder> {
        let Some(mut team) = self.teams.get_mut(team) else { return Some(lease.into_remainder()) };
        team.add_lease(lease, open_leases)
    }

    /// No lease was granted; none is asked for before that time of the sidecar's clock, in milliseconds.
    pub fn lease_not_granted(&self, team: &Id, not_before_ms: i64) {
        if let Some(mut team) = self.teams.get_mut(team) {
            team.lease_not_granted(not_before_ms);
        }
    }

    /// Takes all leases of a team out of hand, to be given back. Those that were granted by then, in Unix milliseconds of the store,
    /// are not taken into hand any more.
    pub fn recall_leases(&self, team: &Id, recalled_at_ms: i64) -> Vec<LeaseRemainder> {
        let Some(mut team) = self.teams.get_mut(team) else { return Vec::new() };
        team.recalled(recalled_at_ms);
        team.remove_all()
    }

    /// Takes those of a team's leases out of hand that were granted under terms of another version, or all of them if they are called
    /// back, at that time in Unix milliseconds of the store.
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

    /// Whether a team has leases in hand.
    pub fn has_leases(&self, team: &Id) -> bool {
        self.teams.get(team).is_some_and(|team| team.has_leases())
    }

    /// Whether any team has.
    pub fn has_any_lease(&self) -> bool {
        self.teams.iter().any(|team| team.has_leases())
    }

    /// How many leases are in hand, and how many credits of them are left to draw.
    pub fn held_leases(&self) -> (usize, i64) {
        self.teams
            .iter()
            .map(|team| team.held_leases())
            .fold((0, 0), |(leases, credits), (more, of_them)| (leases + more, credits + of_them))
    }

    /// Takes out of hand what is of no more use at a time of the sidecar's clock: leases that are over, used up, or of teams that
    /// nobody asks for; of so many teams at most. Teams that have nothing here are forgotten.
    pub fn evict_leases(&self, at_ms: i64, limit: usize) -> Vec<(Id, Vec<LeaseRemainder>)> {
        let mut useless = Vec::new();
        for mut team in self.teams.iter_mut() {
            let rests = team.evict_leases(&self.options, at_ms);
            if !rests.is_empty() {
                useless.push((team.key().clone(), rests));
            }
            if useless.len() >= limit {
                break;
            }
        }
        self.teams.retain(|_, team| !team.is_idle(at_ms, TEAM_IDLE_MS));
        useless
    }

    /// Takes every lease out of hand.
    pub fn remove_all_leases(&self) -> Vec<(Id, Vec<LeaseRemainder>)> {
        let mut all: Vec<_> = self.teams.iter_mut().map(|mut team| (team.key().clone(), team.remove_all())).collect();
        all.retain(|(_, rests)| !rests.is_empty());
        all
    }

    /// A reservation that was opened here and is not settled.
    pub fn find(&self, team: &Id, id: &Id) -> Option<BackedReservation> {
        self.find_with_grant(team, id).map(|(held, _)| held)
    }

    /// The same, and what the caller settles it with.
    pub fn find_with_grant(&self, team: &Id, id: &Id) -> Option<(BackedReservation, Arc<[u8]>)> {
        self.teams.get(team)?.open.find(id)
    }

    /// A reservation that may have been opened here is settled, or has a record of its own now; whether it was open here.
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

    /// Reservations of leases whose hold has run out at a time of the store, in Unix milliseconds, by team: at most so many of each.
    /// Each is named once, unless it is noted anew.
    pub fn take_due(&self, now_ms: i64, limit: usize) -> Vec<(Id, Vec<(Id, BackedReservation)>)> {
        let mut due = Vec::new();
        for mut team in self.teams.iter_mut() {
            let of_team = team.open.take_due(now_ms, limit);
            if !of_team.is_empty() {
                due.push((team.key().clone(), of_team));
            }
        }
        due
    }

    /// A reservation that was due could not be expired yet.
    pub fn note_due(&self, team: &Id, id: &Id, due_ms: i64) {
        if let Some(mut team) = self.teams.get_mut(team) {
            team.open.note_due(id, due_ms);
        }
    }

    /// Some reservations that are open here, to be given records of their own: at most so many.
    pub fn list_open(&self, limit: usize) -> Vec<(Id, Vec<(Id, BackedReservation)>)> {
        let mut some = Vec::new();
        let mut left = limit;
        for team in &self.teams {
            let of_team: Vec<_> = team.open.iter().take(left).collect();
            left -= of_team.len();
            if !of_team.is_empty() {
                some.push((team.key().clone(), of_team));
            }
        }
        some
    }

    /// How many reservations are open here.
    pub fn open_reservation_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// What is known of runs.
    pub fn runs(&self) -> &KnownRuns {
        &self.runs
    }

    /// A call cannot be answered from memory; whether its team should have a lease, as [`Escrow::answer`] says it.
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
