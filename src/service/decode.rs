//! Requests to calls. Each field is checked here against the contract, and a violation names it as the contract does.
//!
//! What only a rule or a store can tell (whether a team exists, a model is on a card, a card came in time) is not asked.

mod account;
mod field;
mod quota;
mod usage;

pub(super) use self::{
    account::{get_rate_card, get_team, list_audit_entries, put_rate_card, put_team, set_overages},
    field::page,
    quota::{begin_run, commit, end_run, extend, get_reservation, release, reserve},
    usage::{get_usage, list_charges},
};
