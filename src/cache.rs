//! The cache of teams: what this sidecar last saw of each team, and the refusals that the store has verified.
//!
//! A cached team is used but never trusted. Each write to the store carries a guard for what it assumed, so stale data
//! costs a refresh and nothing else. This module must not know the store, and nothing in it waits.

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::domain::{account::Account, hold::Hold, id::Id, reservation::Trigger, terms::Terms};

/// How long a verified refusal answers the same or a more expensive request, in milliseconds (I6).
pub const REFUSAL_VALID_MS: i64 = 1_000;

/// Time from the last use of a team until it is evicted, in milliseconds.
const IDLE_MS: i64 = 10 * 60_000;

/// The cache of teams.
#[derive(Debug)]
pub struct Cache {
    teams: DashMap<Id, CachedTeam, RandomState>,
    /// When the next hold of a team runs out, in Unix milliseconds.
    ///
    /// This is separate from `teams`, because a sidecar that has just started learns it for teams that no caller has
    /// used yet. The credits of those teams must come back as well.
    due: DashMap<Id, i64, RandomState>,
    /// Maximum number of teams in each of the two maps. A call of a team that does not fit costs one more read, until
    /// an idle team is evicted. Its due holds are expired when the sweeper visits all teams.
    capacity: usize,
}

/// A team as it was last seen.
#[derive(Clone, Debug)]
pub struct TeamSnapshot {
    /// The team's terms.
    pub terms: Terms,
    /// The account of the latest cycle that was seen.
    pub account: Option<Account>,
    /// Number of changes that this sidecar has made to the team; see [`Cache::remember_refusal`].
    pub changes: u64,
}

/// What a reply of the store says about a team.
#[derive(Debug)]
pub struct TeamUpdate {
    /// The team's terms.
    pub terms: Terms,
    /// The account of the cycle that the call was about. `None` if it has no record.
    pub account: Option<Account>,
    /// Whether the transaction changed something.
    pub changed: bool,
}

/// A refusal that the store has verified: nothing covers the request.
#[derive(Clone, Debug)]
pub struct CachedRefusal {
    /// The request's reservation ID. The store had no reservation with it.
    pub reservation: Id,
    /// The credits that it asked for.
    pub credits: i64,
    /// Its flow and run. `None` for a test.
    pub run: Option<(Id, Id)>,
    /// Whether it belonged to a current run.
    pub in_current_run: bool,
    /// The account that could not cover it.
    pub account: Account,
    /// The open holds that run out first.
    pub holds: Vec<Hold>,
    /// When the store was asked, in milliseconds of the monotonic clock.
    pub checked_at_ms: i64,
}

/// A request to be matched with a cached refusal.
#[derive(Debug)]
pub struct RefusalQuery<'a> {
    /// The credits that it asks for.
    pub credits: i64,
    /// Its flow and run. `None` for a test.
    pub run: Option<(&'a Id, &'a Id)>,
    /// Why it is made.
    pub trigger: Trigger,
    /// Estimated time of the store, in Unix milliseconds.
    pub now_ms: i64,
    /// The current time, in milliseconds of the monotonic clock.
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
    /// Returns an empty cache for at most `capacity` teams.
    pub fn new(capacity: usize) -> Self {
        Self { teams: DashMap::default(), due: DashMap::default(), capacity }
    }

    /// Returns a team as it was last seen. `None` on a cache miss.
    pub fn snapshot(&self, team: &Id, monotonic_ms: i64) -> Option<TeamSnapshot> {
        let mut cached = self.teams.get_mut(team)?;
        cached.last_used_ms = monotonic_ms;
        Some(TeamSnapshot { terms: cached.terms.clone(), account: cached.account.clone(), changes: cached.changes })
    }

    /// Updates a team from a reply. A change removes the team's refusal, so this sidecar sees its own changes at once.
    pub fn update(&self, team: &Id, update: TeamUpdate, monotonic_ms: i64) {
        if let Some(mut cached) = self.teams.get_mut(team) {
            cached.update(update);
        } else if self.teams.len() < self.capacity {
            let new = CachedTeam {
                terms: update.terms.clone(),
                account: None,
                changes: 0,
                refusal: None,
                last_used_ms: monotonic_ms,
            };
            self.teams.entry(team.clone()).or_insert(new).update(update);
        }
    }

    /// Records a change by this sidecar that no [`TeamUpdate`] reports. The team's refusal is removed.
    pub fn record_change(&self, team: &Id) {
        if let Some(mut cached) = self.teams.get_mut(team) {
            cached.record_change();
        }
    }

    /// Caches a refusal, unless this sidecar has changed the team since `changes` was read. In that case the refusal
    /// may have been verified before the change.
    pub fn remember_refusal(&self, team: &Id, refusal: CachedRefusal, changes: u64) {
        if let Some(mut cached) = self.teams.get_mut(team).filter(|cached| cached.changes == changes) {
            cached.refusal = Some(refusal);
        }
    }

    /// Returns a cached refusal that also applies to this request, with the terms it was made under.
    ///
    /// A request of a team with a paid seat may belong to a current run that can pass the limit. Only the store can
    /// tell, so such a request matches only a refusal of the same run.
    pub fn find_refusal(&self, team: &Id, query: &RefusalQuery<'_>) -> Option<(Terms, CachedRefusal)> {
        let cached = self.teams.get(team)?;
        let refusal = cached.refusal.as_ref()?;
        let fresh = query.monotonic_ms - refusal.checked_at_ms <= REFUSAL_VALID_MS
            && refusal.account.cycle.contains(query.now_ms)
            && query.credits >= refusal.credits;
        let cannot_complete = !cached.terms.paid_seat
            || query.trigger == Trigger::Test
            || (refusal.run.is_some() && refusal.is_of(query.run));
        (fresh && cannot_complete).then(|| (cached.terms.clone(), refusal.clone()))
    }

    /// Removes a team that does not exist.
    pub fn remove(&self, team: &Id) {
        self.teams.remove(team);
    }

    /// Records that a hold of the team runs out at a time in Unix milliseconds.
    pub fn note_due(&self, team: &Id, due_ms: i64) {
        let has_room = || self.due.len() < self.capacity;
        let new = || has_room().then(|| self.due.entry(team.clone()).or_insert(due_ms));
        if let Some(mut next_ms) = self.due.get_mut(team).or_else(new) {
            *next_ms = due_ms.min(*next_ms);
        }
    }

    /// Removes and returns the teams with a hold that has run out, as far as is known. A team is returned again only
    /// after another [`Cache::note_due`].
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

    /// Evicts the teams that were not used lately.
    pub fn evict_idle(&self, monotonic_ms: i64) {
        self.teams.retain(|_, cached| monotonic_ms - cached.last_used_ms < IDLE_MS);
    }
}

impl CachedRefusal {
    /// Returns whether the refusal was of this run of this flow.
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
