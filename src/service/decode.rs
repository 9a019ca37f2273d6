//! Decodes the contract's requests into the gate's calls. Each field is checked against the contract, and a violation names the
//! field as the contract does.
//!
//! What only a rule or the store can tell is not checked here: whether a team exists, a model is on a card, or a card came in
//! time.

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
