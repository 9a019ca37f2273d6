//! The reservations that this sidecar made lately: so that a caller that does not send its grant back still costs one
//! store call, and so that a repeat is never answered with a refusal from memory, settled or not. Bounded, and only a hint.

use quick_cache::sync::Cache;

use crate::domain::{id::Id, reservation::Reservation};

/// How many are remembered; one takes a few hundred bytes.
const REMEMBERED: usize = 65_536;

/// Reservations by team and id.
#[derive(Debug)]
pub(crate) struct RecentGrants(Cache<(Id, Id), Reservation>);

impl Default for RecentGrants {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl RecentGrants {
    pub(crate) fn remember(&self, team: &Id, id: &Id, reservation: &Reservation) {
        self.0.insert((team.clone(), id.clone()), reservation.clone());
    }

    pub(crate) fn recall(&self, team: &Id, id: &Id) -> Option<Reservation> {
        self.0.get(&(team.clone(), id.clone()))
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
        self.0.remove(&(team.clone(), id.clone()));
    }
}
