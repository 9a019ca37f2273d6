//! The names of the records in the store.
//!
//! IDs are part of the names without escaping, because their alphabet contains neither `|` nor `,`. Each prefix ends in
//! `:` or is a whole name. A cycle is named by the day it starts on: no two cycles of a team start on the same day.

use super::{billing_cycle::day_name, id::Id};
use crate::transaction::{Key, Scope};

/// Scope of a team's records.
pub fn team(team: &Id) -> Scope {
    Scope::new(team.as_str())
}

/// Scope of the list of all teams. No team ID equals it.
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

/// The account of one cycle.
pub fn account(cycle_start_ms: i64) -> Key {
    Key::hash(format!("cycle:{}", day_name(cycle_start_ms)))
}

/// The cycles for which the team has accounts, ordered by their start.
pub fn cycles() -> Key {
    Key::index("cycles")
}

/// One reservation.
pub fn reservation(id: &Id) -> Key {
    Key::packed(format!("reservation:{id}"))
}

/// The open holds: reservations ordered by when their hold runs out, and leases ordered by when they are reclaimed.
pub fn open_holds() -> Key {
    Key::index("holds")
}

/// One lease.
pub fn lease(id: &Id) -> Key {
    Key::hash(format!("lease:{id}"))
}

/// The leases that may still be drawn from, ordered by when that ends.
pub fn open_leases() -> Key {
    Key::index("leases")
}

/// Scope of the list of recalls. No team ID equals it.
pub fn recalls_scope() -> Scope {
    Scope::new("!recalls")
}

/// The teams whose leases are being recalled, ordered by the time of the recall.
pub fn recalls() -> Key {
    Key::index("recalls")
}

/// One run.
pub fn run(id: &Id) -> Key {
    Key::hash(format!("run:{id}"))
}

/// The log of overage blocks charged in one cycle.
pub fn charges(cycle_start_ms: i64) -> Key {
    Key::log(format!("charges:{}", day_name(cycle_start_ms)))
}

/// The names of the usage rows of one cycle.
pub fn usage_rows(cycle_start_ms: i64) -> Key {
    Key::index(format!("usage:{}", day_name(cycle_start_ms)))
}

/// The counters of one usage row, by the row's name.
pub fn usage_row(cycle_start_ms: i64, member: &str) -> Key {
    Key::hash(format!("usage:{}:{}", day_name(cycle_start_ms), member))
}

/// The audit log of a scope.
pub fn audit() -> Key {
    Key::log("audit")
}
