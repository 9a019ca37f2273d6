//! The reservations that this sidecar made lately: so that a caller that does not send its grant back still costs one
//! store call, and so that a repeat is never answered with a refusal from memory. Bounded, and only a hint.

use quick_cache::sync::Cache;

use crate::domain::{id::Id, reservation::Reservation};

/// How many are remembered; one takes a few hundred bytes.
const REMEMBERED: usize = 65_536;

/// Open reservations by team and id.
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

    pub(crate) fn forget(&self, team: &Id, id: &Id) {
        self.0.remove(&(team.clone(), id.clone()));
    }
}
