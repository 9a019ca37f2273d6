//! Which teams are suspended, as far as this sidecar has seen, so that the log has one line for it and not one for each
//! call.
//!
//! A team near its limit may be refused and served in turn. So it counts as resumed only after a while without a
//! refusal.

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::domain::id::Id;

/// How long a team must not have been refused before a call that proceeds counts as its resumption, in milliseconds.
const QUIET_MS: i64 = 10_000;

/// Time after the last refusal until a team is forgotten, in milliseconds. No cycle is longer.
const FORGOTTEN_MS: i64 = 31 * 24 * 3_600_000;

/// Maximum number of suspended teams to remember. Further ones are not logged.
const REMEMBERED: usize = 100_000;

/// The suspended teams.
#[derive(Debug, Default)]
pub(crate) struct SuspendedTeams {
    teams: DashMap<Id, Suspended, RandomState>,
}

#[derive(Debug)]
struct Suspended {
    /// Time of the first refusal, in milliseconds of the sidecar's clock.
    since_ms: i64,
    /// Time of the last refusal, in milliseconds of the sidecar's clock.
    refused_ms: i64,
}

impl SuspendedTeams {
    /// Notes that a team was refused. Returns whether it was not suspended before.
    pub(crate) fn refused(&self, team: &Id, monotonic_ms: i64) -> bool {
        if let Some(mut suspended) = self.teams.get_mut(team) {
            suspended.refused_ms = monotonic_ms;
            return false;
        }
        if self.teams.len() >= REMEMBERED {
            return false;
        }
        let suspended = Suspended { since_ms: monotonic_ms, refused_ms: monotonic_ms };
        self.teams.insert(team.clone(), suspended).is_none()
    }

    /// Notes that a team proceeds within what it has or may buy. If it has resumed by this, returns for how many
    /// milliseconds it was suspended.
    pub(crate) fn proceeds(&self, team: &Id, monotonic_ms: i64) -> Option<i64> {
        // Few teams are suspended, and every call comes here: mostly this is one look-up with a shared lock.
        if !self.teams.contains_key(team) {
            return None;
        }
        let (_, suspended) =
            self.teams.remove_if(team, |_, suspended| monotonic_ms - suspended.refused_ms >= QUIET_MS)?;
        Some(monotonic_ms - suspended.since_ms)
    }

    /// Forgets the teams that were last refused in a cycle that has ended.
    pub(crate) fn drop_old(&self, monotonic_ms: i64) {
        self.teams.retain(|_, suspended| monotonic_ms - suspended.refused_ms < FORGOTTEN_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_refused_and_served_in_turn_is_logged_once() {
        let teams = SuspendedTeams::default();
        let team = Id::parse("team").unwrap();
        assert_eq!(teams.proceeds(&team, 0), None);
        assert!(teams.refused(&team, 1));
        for at_ms in 2..100 {
            assert!(!teams.refused(&team, at_ms));
            assert_eq!(teams.proceeds(&team, at_ms), None);
        }
        assert_eq!(teams.proceeds(&team, 99 + QUIET_MS), Some(98 + QUIET_MS));
        assert_eq!(teams.proceeds(&team, 100 + QUIET_MS), None, "it has resumed once");
        assert!(teams.refused(&team, 101 + QUIET_MS), "and is suspended again");
    }
}
