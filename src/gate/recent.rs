//! Single reservations that this sidecar had to do with lately. Bounded, and only hints: the store tells what is so.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use quick_cache::{Equivalent, sync::Cache};

use crate::domain::{id::Id, reservation::Reservation};

/// How many are remembered of each kind; a reservation takes a few hundred bytes.
const REMEMBERED: usize = 65_536;

/// What is remembered, by team and id.
#[derive(Debug)]
pub(crate) struct RecentReservations {
    /// Those it made or settled, as they stand: so that a caller that does not send its grant back still costs one
    /// store call, and so that a repeat is never answered with a refusal from memory.
    made: Cache<(Id, Id), Reservation>,
    /// Ids of which the store is asked when they come again: those that were answered with a refusal from memory, as
    /// another sidecar may have made a reservation of such an id, and those whose caller was not told what became of
    /// it. Each is known by a hash: one that has another's is asked for in vain.
    to_ask: Cache<u64, ()>,
    hasher: RandomState,
}

/// A call in flight whose reservation has an id that the caller chose. If it is dropped before it was answered, the
/// caller does not know the outcome, and the store decides when the id comes again.
pub(crate) struct UnacknowledgedReservation<'a> {
    recent: &'a RecentReservations,
    team: &'a Id,
    id: &'a Id,
    is_answered: bool,
}

/// A team and an id, to look for.
#[derive(Hash)]
struct ReservationKey<'a>(&'a Id, &'a Id);

impl Equivalent<(Id, Id)> for ReservationKey<'_> {
    fn equivalent(&self, key: &(Id, Id)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

impl UnacknowledgedReservation<'_> {
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for UnacknowledgedReservation<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.recent.to_ask.insert(self.recent.hash(self.team, self.id), ());
        }
    }
}

impl Default for RecentReservations {
    fn default() -> Self {
        Self { made: Cache::new(REMEMBERED), to_ask: Cache::new(REMEMBERED), hasher: RandomState::default() }
    }
}

impl RecentReservations {
    pub(crate) fn remember(&self, team: &Id, id: &Id, reservation: &Reservation) {
        self.made.insert((team.clone(), id.clone()), reservation.clone());
    }

    pub(crate) fn recall(&self, team: &Id, id: &Id) -> Option<Reservation> {
        self.made.get(&ReservationKey(team, id))
    }

    /// Whoever settled it: from now on it is remembered as it stands, if it is remembered at all.
    pub(crate) fn mark_settled(&self, team: &Id, id: &Id, settled: Option<Reservation>) {
        match settled {
            Some(settled) if self.recall(team, id).is_some() => self.remember(team, id, &settled),
            Some(_) => {}
            None => self.forget(team, id),
        }
    }

    pub(crate) fn forget(&self, team: &Id, id: &Id) {
        self.made.remove(&(team.clone(), id.clone()));
    }

    /// Whether only the store can tell what became of an id: this sidecar wrote a reservation of it through, or settled
    /// one, or left a caller untold.
    pub(crate) fn must_be_asked_for(&self, team: &Id, id: &Id) -> bool {
        self.made.contains_key(&ReservationKey(team, id)) || self.to_ask.contains_key(&self.hash(team, id))
    }

    /// Whether an id may be answered with a refusal from memory: once.
    pub(crate) fn may_refuse(&self, team: &Id, id: &Id) -> bool {
        let hash = self.hash(team, id);
        let first = !self.to_ask.contains_key(&hash);
        self.to_ask.insert(hash, ());
        first
    }

    /// Begins a reservation of an id that its caller may send again: until it is told what became of it, a refusal from
    /// memory is no answer to it.
    pub(crate) fn begin<'a>(&'a self, team: &'a Id, id: &'a Id) -> UnacknowledgedReservation<'a> {
        UnacknowledgedReservation { recent: self, team, id, is_answered: false }
    }

    fn hash(&self, team: &Id, id: &Id) -> u64 {
        self.hasher.hash_one(ReservationKey(team, id))
    }
}
