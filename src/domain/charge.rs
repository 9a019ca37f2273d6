//! Charges: the overage blocks bought in a cycle, each exactly once (I4).
//!
//! A commit that buys several blocks writes one entry for all of them, so that its size does not grow with their
//! number.

use super::{Damaged, OVERAGE_BLOCK_CREDITS, id::Id};
use crate::transaction::{FieldMap, Linear, RecordRef, Value};

/// The blocks that one commit bought: an entry of the cycle's log of charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargeEntry {
    /// Number of the first block, counted from 1 in each cycle.
    pub first_block: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// When the commit bought it, in Unix milliseconds.
    pub charged_at_ms: i64,
}

/// One overage block, to be invoiced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// ID of the team.
    pub team: Id,
    /// Start of the cycle, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// Number of the block, counted from 1 in each cycle.
    pub block: u32,
    /// Credits of the block: always [`OVERAGE_BLOCK_CREDITS`].
    pub credits: i64,
    /// When the commit bought it, in Unix milliseconds.
    pub charged_at_ms: i64,
}

impl ChargeEntry {
    /// Reads an entry of the log.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("charge", field));
        let block = |field| u32::try_from(number(field)?).map_err(|_| Damaged::field("charge", field));
        let entry = Self { first_block: block("first_block")?, blocks: block("blocks")?, charged_at_ms: number("at")? };
        // The numbers of all blocks must fit into 32 bits, as the overage cap does.
        let last = entry.first_block.checked_add(entry.blocks);
        last.map(|_| entry).ok_or_else(|| Damaged::field("charge", "blocks"))
    }

    /// Returns each block as a charge of its own.
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
    /// Returns the idempotency key of the invoice: `TEAM/CYCLE_START_DATE/BLOCK`.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.team, super::billing_cycle::day_name(self.cycle_start_ms), self.block)
    }
}

/// Returns the log entry for blocks that a commit buys. Their numbers continue those of the account before the commit.
pub(crate) fn charge_fields(account: RecordRef, blocks: i64) -> Vec<(&'static str, Value)> {
    let first_block = Linear::constant(1).plus(1, account, "blocks");
    vec![("first_block", first_block.into()), ("blocks", blocks.into()), ("at", Value::now())]
}
