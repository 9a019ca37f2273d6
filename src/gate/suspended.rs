//! Which teams are suspended, as far as this sidecar has seen, so that the log tells of it once and not at each call.
//!
//! It decides nothing. A team that asks again and again near its limit is refused and served in turn; so it counts as
//! resumed only once a while has passed without a refusal.

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::domain::id::Id;

/// A team that proceeds, and was not refused for so long, in milliseconds, has resumed.
const QUIET_MS: i64 = 10_000;

/// A team that nobody asked for since, in milliseconds, is forgotten: no cycle is longer.
const FORGOTTEN_MS: i64 = 31 * 24 * 3_600_000;

/// Beyond so many suspended teams the log does not tell of more.
const REMEMBERED: usize = 100_000;

/// The suspended teams.
#[derive(Debug, Default)]
pub(crate) struct SuspendedTeams {
    teams: DashMap<Id, Suspended, RandomState>,
}

#[derive(Debug)]
struct Suspended {
    /// The first refusal, in monotonic milliseconds.
    since_ms: i64,
    /// The last one, the same.
    refused_ms: i64,
}

impl SuspendedTeams {
    /// A team was refused: whether that is news.
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

    /// A team proceeds within what it has or may buy: for how many milliseconds it was suspended before, if it has
    /// resumed by this.
    pub(crate) fn proceeds(&self, team: &Id, monotonic_ms: i64) -> Option<i64> {
        // Teams are seldom suspended, and this is on the way of every call: mostly, one look that locks out nobody.
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
    fn a_team_that_is_refused_and_served_in_turn_is_told_of_once() {
        let teams = SuspendedTeams::default();
        let team = Id::parse("team").unwrap();
        assert_eq!(teams.proceeds(&team, 0), None);
        assert!(teams.refused(&team, 1));
        for at_ms in 2..100 {
            assert!(!teams.refused(&team, at_ms));
            assert_eq!(teams.proceeds(&team, at_ms), None);
        }
        assert_eq!(teams.proceeds(&team, 99 + QUIET_MS), Some(98 + QUIET_MS));
        assert_eq!(teams.proceeds(&team, 100 + QUIET_MS), None, "it is told once");
        assert!(teams.refused(&team, 101 + QUIET_MS), "and is news again");
    }
}
