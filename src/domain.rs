//! The rules: what a team is sold, what a call costs, and each operation as a transaction.
//!
//! Everything here is pure. Time, IDs and the assumed state of a team are arguments. The result is a transaction whose
//! guards check what was assumed, or the meaning of a store's reply. This module must not know a clock, IO, async,
//! protobuf or a log.
//!
//! # Where a rule lives
//!
//! `docs/rules.md` explains the rules. Comments in the code refer to them by these numbers.
//!
//! | rule | files |
//! |---|---|
//! | 1. Prices come from dated rate cards. | [`rate_card`], [`catalogue`] |
//! | 2. Each cycle includes credits, and nothing rolls over. | [`plan`], [`billing_cycle`], [`account`] |
//! | 3. At the limit with a paid seat, current runs complete. | [`reserve`], [`run`], [`run_admission`], [`policy`] |
//! | 4. At the limit without a paid seat, blocks stop at once. | [`reserve`], [`suspension`] |
//! | 5. Overages: blocks of 1,000 credits, bought by commits. | [`charging`], [`charge`], [`reserve`], [`terms_change`] |
//! | 6. A reservation belongs to the cycle it was made in. | [`reserve`], [`commit`] |
//! | 7. A commit charges what was really used. | [`commit`], [`charging`] |
//! | 8. Changes of terms apply at once and never bill. | [`terms_change`], [`billing_cycle`], [`charging`] |
//!
//! Other questions:
//!
//! | question | files |
//! |---|---|
//! | Why is a call suspended, and what lifts it? | [`suspension`] |
//! | What do the counters of a team mean, and when does a call fit? | [`account`] |
//! | What happens to a reservation after it was made? | [`settlement`], and [`commit`], [`release`], [`extend`], [`expire`] |
//! | How can a sidecar answer without asking the store? | [`lease`], [`reservation`] (grants) |
//! | What does a sidecar assume, and what if it is wrong? | [`assumptions`] |
//! | Which records does the store have? | [`keys`], and `docs/internals/records.md` |
//! | Which numbers can an installation choose? | [`policy`] |
//! | What is listed for people? | [`usage`], [`charge`], [`audit`], [`listing`] |

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

/// Number of credits in one overage block. They are charged, and credited to the allotment.
pub const OVERAGE_BLOCK_CREDITS: i64 = 1_000;

/// A record in the store that this program cannot have written.
#[derive(Debug, Error)]
#[error("unexpected data in the store: record {record}: {what}")]
pub struct Damaged {
    /// Kind of the record.
    pub record: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Damaged {
    pub(crate) fn new(record: &'static str, what: impl Into<String>) -> Self {
        Self { record, what: what.into() }
    }

    pub(crate) fn field(record: &'static str, field: &str) -> Self {
        Self::new(record, format!("field {field} is missing or invalid"))
    }
}
