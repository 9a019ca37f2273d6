//! The rules: what a team is sold, what a call costs, and each operation as a transaction.
//!
//! Everything here is pure. Time, ids and what is known of a team are arguments; the result is a transaction that carries
//! what it assumes, or the reading of a store's reply. This module must not know a clock, IO, async, proto or a log.

pub mod account;
pub mod assumptions;
pub mod audit;
pub mod billing_cycle;
pub mod catalogue;
pub mod charge;
pub mod charging;
pub mod commit;
pub mod expire;
pub mod extend;
pub mod hold;
pub mod id;
pub mod keys;
pub mod lease;
pub mod listing;
pub mod plan;
pub mod policy;
pub mod rate_card;
pub mod release;
pub mod reservation;
pub mod reserve;
pub mod run;
pub mod run_admission;
pub mod seed;
pub mod settlement;
pub mod suspension;
pub mod terms;
pub mod terms_change;
pub mod trim;
pub mod usage;

use thiserror::Error;

/// Credits of one overage block: charged, and credited to the allotment.
pub const OVERAGE_BLOCK_CREDITS: i64 = 1_000;

/// A record of the store that the rules cannot have written.
#[derive(Debug, Error)]
#[error("the record {record} is damaged: {what}")]
pub struct Damaged {
    /// Which kind of record.
    pub record: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Damaged {
    pub(crate) fn new(record: &'static str, what: impl Into<String>) -> Self {
        Self { record, what: what.into() }
    }
}
