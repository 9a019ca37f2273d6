//! Single reservations that this sidecar had to do with lately. Bounded, and only hints: the store tells what is so.

use quick_cache::sync::Cache;

use crate::domain::{id::Id, reservation::Reservation};

/// How many are remembered of each kind; a reservation takes a few hundred bytes.
const REMEMBERED: usize = 65_536;

/// What is remembered, by team and id.
#[derive(Debug)]
pub(crate) struct RecentReservations {
    /// Those it made or settled, as they stand: so that a caller that does not send its grant back still costs one store call, and so
    /// that a repeat is never answered with a refusal from memory.
    made: Cache<(Id, Id), Reservation>,
    /// Ids that were answered with a refusal from memory. Another sidecar may have made a reservation of such an id, so the
    /// next time the store is asked.
    refused: Cache<(Id, Id), ()>,
}

impl Default for RecentReservations {
    fn default() -> Self {
        Self { made: Cache::new(REMEMBERED), refused: Cache::new(REMEMBERED) }
    }
}

impl RecentReservations {
    pub(crate) fn remember(&self, team: &Id, id: &Id, reservation: &Reservation) {
        self.made.insert((team.clone(), id.clone()), reservation.clone());
    }

    pub(crate) fn recall(&self, team: &Id, id: &Id) -> Option<Reservation> {
        self.made.get(&(team.clone(), id.clone()))
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

    /// Whether an id may be answered with a refusal from memory: once.
    pub(crate) fn may_refuse(&self, team: &Id, id: &Id) -> bool {
        let key = (team.clone(), id.clone());
        let first = self.refused.get(&key).is_none();
        self.refused.insert(key, ());
        first
    }
}
