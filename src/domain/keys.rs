//! The names of a team's records. Ids stand in them as they are: their alphabet lacks `|` and `,`, and every prefix ends in `:`
//! or is a whole name. A cycle is named by the day it starts: no two cycles of a team start on the same day.

use super::{billing_cycle::day_name, id::Id};
use crate::transaction::{Key, Scope};

/// The scope of a team's records.
pub fn team(team: &Id) -> Scope {
    Scope::new(team.as_str())
}

/// The scope of the list of all teams, which no team id can equal.
pub fn registry_scope() -> Scope {
    Scope::new("!teams")
}

/// The list of all teams.
pub fn registry() -> Key {
    Key::index("teams")
}

/// The team's terms.
pub fn terms() -> Key {
    Key::hash("terms")
}

/// The counters of one cycle.
pub fn account(cycle_start_ms: i64) -> Key {
    Key::hash(format!("cycle:{}", day_name(cycle_start_ms)))
}

/// The cycles that the team has counters of, by their start.
pub fn cycles() -> Key {
    Key::index("cycles")
}

/// One reservation.
pub fn reservation(id: &Id) -> Key {
    Key::packed(format!("reservation:{id}"))
}

/// The open reservations, by the time their hold runs out, and the leases, by the time their credits come back by themselves.
pub fn open_holds() -> Key {
    Key::index("holds")
}

/// One lease.
pub fn lease(id: &Id) -> Key {
    Key::hash(format!("lease:{id}"))
}

/// The leases that may still be drawn from, by the time that ends.
pub fn open_leases() -> Key {
    Key::index("leases")
}

/// The scope of the list of recalls, which no team id can equal.
pub fn recalls_scope() -> Scope {
    Scope::new("!recalls")
}

/// The teams whose leases are called back, by the time of the call.
pub fn recalls() -> Key {
    Key::index("recalls")
}

/// One run.
pub fn run(id: &Id) -> Key {
    Key::hash(format!("run:{id}"))
}

/// The overage blocks charged in one cycle.
pub fn charges(cycle_start_ms: i64) -> Key {
    Key::log(format!("charges:{}", day_name(cycle_start_ms)))
}

/// The usage rows of one cycle, by name.
pub fn usage_rows(cycle_start_ms: i64) -> Key {
    Key::index(format!("usage:{}", day_name(cycle_start_ms)))
}

/// The counters of one usage row, by its name among the rows.
pub fn usage_row(cycle_start_ms: i64, member: &str) -> Key {
    Key::hash(format!("usage:{}:{}", day_name(cycle_start_ms), member))
}

/// The accepted changes of terms.
pub fn audit() -> Key {
    Key::log("audit")
}
