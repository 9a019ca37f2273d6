//! Charges: the overage blocks that were bought in a cycle, each exactly once (I4).
//!
//! A commit that buys several blocks writes one entry for all of them, so that what it writes does not grow with them.

use super::{Damaged, OVERAGE_BLOCK_CREDITS, id::Id};
use crate::transaction::{FieldMap, Linear, RecordRef, Value};

/// Blocks that one commit bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargeEntry {
    /// The number of the first, from 1, in the cycle.
    pub first_block: u32,
    /// How many.
    pub blocks: u32,
    /// Unix milliseconds.
    pub charged_at_ms: i64,
}

/// One block that was bought: what to invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The team.
    pub team: Id,
    /// The start of the cycle, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// From 1, in the cycle.
    pub block: u32,
    /// Always [`OVERAGE_BLOCK_CREDITS`].
    pub credits: i64,
    /// Unix milliseconds.
    pub charged_at_ms: i64,
}

impl ChargeEntry {
    /// Reads an entry of the log.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::new("charge", field));
        let block = |field| u32::try_from(number(field)?).map_err(|_| Damaged::new("charge", field));
        let entry = Self { first_block: block("first_block")?, blocks: block("blocks")?, charged_at_ms: number("at")? };
        // Block numbers count up to the most that a cap can name.
        let last = entry.first_block.checked_add(entry.blocks);
        last.map(|_| entry).ok_or_else(|| Damaged::new("charge", "blocks"))
    }

    /// Each block by itself.
    pub fn charges(self, team: &Id, cycle_start_ms: i64) -> impl Iterator<Item = Charge> {
        let team = team.clone();
        (self.first_block..self.first_block + self.blocks).map(move |block| Charge {
            team: team.clone(),
            cycle_start_ms,
            block,
            credits: OVERAGE_BLOCK_CREDITS,
            charged_at_ms: self.charged_at_ms,
        })
    }
}

impl Charge {
    /// TEAM/CYCLE_START_DATE/BLOCK: the invoice's idempotency key.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.team, super::billing_cycle::day_name(self.cycle_start_ms), self.block)
    }
}

/// The entry of blocks that a commit buys: their numbers follow on those that the account has before it.
pub(crate) fn charge_fields(account: RecordRef, blocks: i64) -> Vec<(&'static str, Value)> {
    let first_block = Linear::constant(1).plus(1, account, "blocks");
    vec![("first_block", first_block.into()), ("blocks", blocks.into()), ("at", Value::now())]
}
