//! What this sidecar last saw of each team. Never trusted, only used: every write carries what it assumed, so a wrong view
//! costs a refresh. It must not know the store, and nothing here waits.

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::domain::{account::Account, hold::Hold, id::Id, reservation::Trigger, terms::Terms};

/// A verified refusal answers the same or a dearer request for so long, in milliseconds (I6).
pub const REFUSAL_VALID_MS: i64 = 1_000;

/// A view that nobody asked for is dropped after so long, in milliseconds.
const IDLE_MS: i64 = 10 * 60_000;

/// Views of teams.
#[derive(Debug)]
pub struct Cache {
    teams: DashMap<Id, CachedTeam, RandomState>,
    /// When the next hold of a team runs out, in Unix milliseconds. A sidecar that has just started knows this of teams that nobody
    /// has asked it about, and so has no view of: their credits are to come back too.
    due: DashMap<Id, i64, RandomState>,
    /// Beyond so many teams a new one is not kept: it costs a read per call until an idle one is dropped, and its holds run out when
    /// all teams are swept.
    capacity: usize,
}

/// What is believed of a team.
#[derive(Clone, Debug)]
pub struct TeamSnapshot {
    /// Its terms.
    pub terms: Terms,
    /// The account of the latest cycle seen.
    pub account: Option<Account>,
    /// Counts the changes that this sidecar made; see [`Cache::remember_refusal`].
    pub changes: u64,
}

/// What a reply taught.
#[derive(Debug)]
pub struct TeamUpdate {
    /// The team's terms.
    pub terms: Terms,
    /// The account of the cycle that the call was about; `None` if it does not exist.
    pub account: Option<Account>,
    /// Something was written.
    pub changed: bool,
}

/// A request that the store verified cannot be covered.
#[derive(Clone, Debug)]
pub struct CachedRefusal {
    /// The id that it came with, of which the store had no reservation.
    pub reservation: Id,
    /// What it asked for.
    pub credits: i64,
    /// The flow and the run that it belonged to; `None` for a test.
    pub run: Option<(Id, Id)>,
    /// Whether it could have completed a current run.
    pub in_current_run: bool,
    /// The account that could not cover it.
    pub account: Account,
    /// The open reservations whose holds ran out first.
    pub holds: Vec<Hold>,
    /// The monotonic time when the store was asked, in milliseconds.
    pub checked_at_ms: i64,
}

/// A request that a remembered refusal may answer.
#[derive(Debug)]
pub struct RefusalQuery<'a> {
    /// Credits.
    pub credits: i64,
    /// Its flow and run; `None` for a test.
    pub run: Option<(&'a Id, &'a Id)>,
    /// Why it is made.
    pub trigger: Trigger,
    /// The store's time, as far as it is known, in Unix milliseconds.
    pub now_ms: i64,
    /// The monotonic time, in milliseconds.
    pub monotonic_ms: i64,
}

#[derive(Debug)]
struct CachedTeam {
    terms: Terms,
    account: Option<Account>,
    changes: u64,
    refusal: Option<CachedRefusal>,
    last_used_ms: i64,
}

impl Cache {
    /// An empty cache of at most so many teams.
    pub fn new(capacity: usize) -> Self {
        Self { teams: DashMap::default(), due: DashMap::default(), capacity }
    }

    /// What is believed of a team, if anything.
    pub fn snapshot(&self, team: &Id, monotonic_ms: i64) -> Option<TeamSnapshot> {
        let mut view = self.teams.get_mut(team)?;
        view.last_used_ms = monotonic_ms;
        Some(TeamSnapshot { terms: view.terms.clone(), account: view.account.clone(), changes: view.changes })
    }

    /// Takes in what a reply taught. A change forgets the refusal, for this sidecar sees its own changes at once.
    pub fn update(&self, team: &Id, update: TeamUpdate, monotonic_ms: i64) {
        if let Some(mut view) = self.teams.get_mut(team) {
            view.update(update);
        } else if self.teams.len() < self.capacity {
            let fresh = CachedTeam {
                terms: update.terms.clone(),
                account: None,
                changes: 0,
                refusal: None,
                last_used_ms: monotonic_ms,
            };
            self.teams.entry(team.clone()).or_insert(fresh).update(update);
        }
    }

    /// This sidecar changed something of the team that no lesson tells of: the refusal is forgotten.
    pub fn record_change(&self, team: &Id) {
        if let Some(mut view) = self.teams.get_mut(team) {
            view.record_change();
        }
    }

    /// Remembers a refusal, unless this sidecar has changed something of the team since `changes` was read: the refusal
    /// may have been verified before that.
    pub fn remember_refusal(&self, team: &Id, refusal: CachedRefusal, changes: u64) {
        if let Some(mut view) = self.teams.get_mut(team).filter(|view| view.changes == changes) {
            view.refusal = Some(refusal);
        }
    }

    /// A remembered refusal that holds for a request too, with the terms it was made under.
    ///
    /// A request of a team with a paid seat may be one of a current run that completes past the limit, which only the
    /// store can tell: it is answered from memory only if the very run was refused.
    pub fn find_refusal(&self, team: &Id, query: &RefusalQuery<'_>) -> Option<(Terms, CachedRefusal)> {
        let view = self.teams.get(team)?;
        let refusal = view.refusal.as_ref()?;
        let fresh = query.monotonic_ms - refusal.checked_at_ms <= REFUSAL_VALID_MS
            && refusal.account.cycle.contains(query.now_ms)
            && query.credits >= refusal.credits;
        let cannot_complete = !view.terms.paid_seat
            || query.trigger == Trigger::Test
            || (refusal.run.is_some() && refusal.is_of(query.run));
        (fresh && cannot_complete).then(|| (view.terms.clone(), refusal.clone()))
    }

    /// Forgets a team that does not exist.
    pub fn remove(&self, team: &Id) {
        self.teams.remove(team);
    }

    /// Notes that a hold of the team runs out at a time, in Unix milliseconds.
    pub fn note_due(&self, team: &Id, due_ms: i64) {
        let has_room = || self.due.len() < self.capacity;
        let new = || has_room().then(|| self.due.entry(team.clone()).or_insert(due_ms));
        if let Some(mut next_ms) = self.due.get_mut(team).or_else(new) {
            *next_ms = due_ms.min(*next_ms);
        }
    }

    /// The teams with a hold that has run out, as far as is known; each is named once until it is noted anew.
    pub fn take_due(&self, now_ms: i64) -> Vec<Id> {
        let mut due = Vec::new();
        self.due.retain(|team, next_ms| {
            let is_due = *next_ms <= now_ms;
            if is_due {
                due.push(team.clone());
            }
            !is_due
        });
        due
    }

    /// Drops the views that nobody asked for lately.
    pub fn evict_idle(&self, monotonic_ms: i64) {
        self.teams.retain(|_, view| monotonic_ms - view.last_used_ms < IDLE_MS);
    }
}

impl CachedRefusal {
    /// Whether it was of the same run of the same flow.
    pub fn is_of(&self, run: Option<(&Id, &Id)>) -> bool {
        self.run.as_ref().map(|(flow, run)| (flow, run)) == run
    }
}

impl CachedTeam {
    fn record_change(&mut self) {
        self.changes += 1;
        self.refusal = None;
    }

    fn update(&mut self, update: TeamUpdate) {
        if update.changed {
            self.record_change();
        } else if update.terms.version != self.terms.version {
            self.refusal = None;
        }
        self.terms = update.terms;
        let older = |account: &Account| {
            self.account.as_ref().is_some_and(|known| account.cycle.start_ms < known.cycle.start_ms)
        };
        if !update.account.as_ref().is_some_and(older) {
            self.account = update.account;
        }
    }
}
