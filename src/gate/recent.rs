//! Reservations that this sidecar made or settled lately. They are bounded, and only hints: the store decides.
//! This part is in memory, and must not know the store.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use quick_cache::{Equivalent, sync::Cache};

use crate::domain::{id::Id, reservation::Reservation};

/// Maximum number of entries of each kind. A reservation takes a few hundred bytes.
const REMEMBERED: usize = 65_536;

/// Recent reservations, by team and id.
#[derive(Debug)]
pub(crate) struct RecentReservations {
    /// Reservations that this sidecar made or settled, as they stand. They let a caller that does not send its grant
    /// back settle with one store call, and they keep a repeat from being answered with a remembered refusal.
    made: Cache<(Id, Id), Reservation>,
    /// Hashes of the ids whose next call must ask the store. An id is here if it was answered with a remembered refusal,
    /// because another sidecar may have a reservation of that id, or if its caller got no answer. If two ids have the
    /// same hash, the store is asked once without need.
    to_ask: Cache<u64, ()>,
    hasher: RandomState,
}

/// A call in flight whose reservation has an id that the caller chose. If it is dropped before the call was answered,
/// the caller does not know the outcome, and the store is asked when the id comes again.
pub(crate) struct UnacknowledgedReservation<'a> {
    recent: &'a RecentReservations,
    team: &'a Id,
    id: &'a Id,
    is_answered: bool,
}

/// A team and an id, to look up an entry without cloning them.
#[derive(Hash)]
struct ReservationKey<'a>(&'a Id, &'a Id);

impl Equivalent<(Id, Id)> for ReservationKey<'_> {
    fn equivalent(&self, key: &(Id, Id)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

impl UnacknowledgedReservation<'_> {
    /// Notes that the caller gets an answer.
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
    /// Remembers a reservation as it stands.
    pub(crate) fn remember(&self, team: &Id, id: &Id, reservation: &Reservation) {
        self.made.insert((team.clone(), id.clone()), reservation.clone());
    }

    /// Returns a reservation, if it is remembered.
    pub(crate) fn recall(&self, team: &Id, id: &Id) -> Option<Reservation> {
        self.made.get(&ReservationKey(team, id))
    }

    /// Updates a reservation that was settled, if it is remembered. `None` stands for one that has no record any more.
    pub(crate) fn mark_settled(&self, team: &Id, id: &Id, settled: Option<Reservation>) {
        match settled {
            Some(settled) if self.recall(team, id).is_some() => self.remember(team, id, &settled),
            Some(_) => {}
            None => self.forget(team, id),
        }
    }

    /// Forgets a reservation.
    pub(crate) fn forget(&self, team: &Id, id: &Id) {
        self.made.remove(&(team.clone(), id.clone()));
    }

    /// Returns whether only the store can answer a call with this id: this sidecar wrote its reservation through or
    /// settled it, or an earlier call with it got no answer.
    pub(crate) fn must_ask_store(&self, team: &Id, id: &Id) -> bool {
        self.made.contains_key(&ReservationKey(team, id)) || self.to_ask.contains_key(&self.hash(team, id))
    }

    /// Returns whether a call with this id may be answered with a remembered refusal. It returns `true` once for each id.
    pub(crate) fn may_refuse(&self, team: &Id, id: &Id) -> bool {
        let hash = self.hash(team, id);
        let first = !self.to_ask.contains_key(&hash);
        self.to_ask.insert(hash, ());
        first
    }

    /// Begins a call whose id its caller may send again. Until the call is answered, the id must not be answered with a
    /// remembered refusal.
    pub(crate) fn begin<'a>(&'a self, team: &'a Id, id: &'a Id) -> UnacknowledgedReservation<'a> {
        UnacknowledgedReservation { recent: self, team, id, is_answered: false }
    }

    fn hash(&self, team: &Id, id: &Id) -> u64 {
        self.hasher.hash_one(ReservationKey(team, id))
    }
}
