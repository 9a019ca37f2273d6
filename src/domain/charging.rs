//! Charging: how a commit enters the account of its cycle (rules 5, 7 and 8). This is where money is decided.
//!
//! # The parts of a commit
//!
//! A commit charges what was really used. That amount has two parts:
//!
//! - The *promised* part is within the hold. Proceed promised it, so it always enters *used*. If that takes *used*
//!   above the allotment, overage blocks are bought. If overages cannot buy any, the terms were lowered after the
//!   promise, and the difference is waived.
//! - The *excess* is above the hold. It enters *used* if the allotment covers it, or else if overages may buy blocks
//!   for it. Otherwise it counts as *above hold*, because the model has already run.
//!
//! A hold of run completion is neither: it enters *run completion* and never changes *used*.
//!
//! # The options
//!
//! The store decides which option applies, because only the store knows the account exactly. `CommitAmounts::options`
//! builds a list of options, each with guards, and the store applies the first one whose guards hold. The options
//! exclude each other apart from their order. So a wrong assumption about the account can only make the store refuse
//! the transaction. It never makes the store choose a wrong option.
//!
//! In the order of the list, for a commit with an excess:
//!
//! | option | guards | effect |
//! |---|---|---|
//! | 1 | The allotment covers used + held + leased + the excess. | All of it enters used. |
//! | 2 | Overages are on and their cap covers it, and used stays within the allotment. | All of it enters used. |
//! | 3 | Overages are on and their cap covers it, and used exceeds the allotment. | All of it enters used, and blocks are bought. |
//! | 4 | Overages are off. | The promised part enters used, and the excess is above hold. |
//! | 5 | Overages are on, but their cap does not cover it. | As 4. |
//!
//! Options 2 to 5 also need that no hold is due and, unless leases were already recalled, that no lease may be drawn
//! from. Otherwise the result would depend on when the sweeper last ran.
//!
//! A commit without an excess has only the options for its promised part, and so have 4 and 5 for theirs:
//!
//! | option | guards | effect |
//! |---|---|---|
//! | a | used stays within the allotment. | Nothing else. |
//! | b | used exceeds the allotment, and the hold was granted as overage. | Blocks are bought, even if overages are off now. |
//! | c | used exceeds the allotment, and overages are on and below their cap. | Blocks are bought. |
//! | d | used exceeds the allotment, and overages are off or at their cap. | The difference is waived. |
//!
//! # Examples
//!
//! A team has used 480 of an allotment of 500. It commits 25 credits. Nothing else is held or leased.
//!
//! | the hold | overages | option | used | blocks | above hold | waived |
//! |---|---|---|---|---|---|---|
//! | 20, granted from the allotment | off | 4a | 500 | 0 | 5 | 0 |
//! | 20, granted from the allotment | on, no cap | 3 | 505 | 1 | 0 | 0 |
//! | 20, granted from the allotment | on, at the cap | 5a | 500 | 0 | 5 | 0 |
//! | 25, granted as overage | on | b | 505 | 1 | 0 | 0 |
//! | 25, granted as overage | switched off since | b | 505 | 1 | 0 | 0 |
//! | 25, granted from an allotment of 505 that was lowered to 500 | off | d | 505 | 0 | 0 | 5 |
//! | 25, ran out: the commit is late | off | 4a | 480 | 0 | 25 | 0 |
//! | 25, granted as run completion | off | a | 480 | 0 | 0 | 0 |
//!
//! In the first row, the promised part is 20 and the excess is 5. Option 1 does not apply: used 480 + held 20 + excess
//! 5 is 505, above 500. Options 2 and 3 need overages. Option 4 applies, and its promised part fits: 480 + 20 is 500.
//!
//! In the second row, option 3 applies: used becomes 505, which exceeds 500 by 5. That takes one block, so the
//! allotment becomes 1,500 and one charge is written. In the last row, *run completion* rises by 25.
//!
//! `tests/suite/properties/charging.rs` commits each of these rows.

use super::{
    OVERAGE_BLOCK_CREDITS,
    account::{Account, allotment_covers, cap_of_used, excess_of_used, overage_covers, overage_room, overages_on},
    charge::charge_fields,
    reservation::Basis,
};
use crate::transaction::{Choice, Guard, Linear, RecordRef, Value, Write};

/// A commit as its account sees it, in credits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitAmounts {
    /// What the commit removes from the counter of held or leased credits.
    pub(crate) released: i64,
    /// Name of that counter: *held*, or *leased* if the reservation was opened from a lease.
    pub(crate) held_counter: &'static str,
    /// The part within the hold, which enters *used*.
    pub(crate) promised: i64,
    /// The part above the hold.
    pub(crate) excess: i64,
    /// The part that a current run committed past the limit.
    pub(crate) run_completion: i64,
    /// What covered the hold.
    pub(crate) basis: Basis,
}

/// The records that the options of a commit read and change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChargeRecords {
    pub(crate) account: RecordRef,
    /// The log of overage blocks of the cycle.
    pub(crate) charges: RecordRef,
    /// The index of open holds.
    pub(crate) holds: RecordRef,
    /// The leases that may still be drawn from. They are recalled before an excess uses anything but the allotment.
    /// `None` if they were already recalled.
    pub(crate) open_leases: Option<RecordRef>,
}

impl ChargeRecords {
    /// Returns what an option adds to the account apart from *used*.
    pub(crate) fn effects_of(&self, option: &Choice) -> CommitEffects {
        let mut effects = CommitEffects::default();
        for write in &option.writes {
            match write {
                Write::Add(record, "blocks", blocks) if *record == self.account => effects.blocks += blocks,
                Write::Add(record, "run_completion", credits) if *record == self.account => {
                    effects.run_completion += credits;
                }
                Write::Add(record, "above_hold", credits) if *record == self.account => effects.above_hold += credits,
                _ => {}
            }
        }
        effects
    }
}

/// What a commit adds to its account apart from *used*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitEffects {
    /// Number of overage blocks bought.
    pub blocks: i64,
    /// Credits that a current run used past the limit.
    pub run_completion: i64,
    /// Credits above the hold that nothing covered.
    pub above_hold: i64,
}

/// What an option adds to the counters whose share depends on the option, in credits.
#[derive(Clone, Copy)]
struct CounterChanges {
    used: i64,
    above_hold: i64,
}

impl CommitAmounts {
    /// Returns the options of this commit.
    ///
    /// `last_seen` is the account as it was last seen. Options that it rules out are omitted. If it is out of date, the
    /// store refuses the transaction, and the caller tries again with the account in the reply.
    pub(crate) fn options(&self, records: ChargeRecords, last_seen: Option<&Account>) -> Vec<Choice> {
        let promised = CounterChanges { used: self.promised, above_hold: 0 };
        if self.excess == 0 {
            return self.promised_options(records, last_seen, &[], promised);
        }
        let account = records.account;
        // The promised part is already among the held or leased credits, unless the hold ran out.
        let added = self.promised + self.excess - self.released;
        let all_used = CounterChanges { used: self.promised + self.excess, above_hold: 0 };
        let excess_above_hold = CounterChanges { above_hold: self.excess, ..promised };

        let mut nothing_to_recover = vec![Guard::NothingDue(records.holds)];
        nothing_to_recover.extend(records.open_leases.map(Guard::NothingAhead));
        let only_if = |conditions: &[Guard]| [&nothing_to_recover, conditions].concat();
        let overages_cover = only_if(&[overages_on(account), overage_covers(account, added)]);
        let overages_are_off = only_if(&[overages_off(account)]);
        let cap_is_reached = only_if(&[overages_on(account), above_zero(overage_room(account, added))]);

        // The numbers are those of the table above.
        let mut options = vec![self.option(records, vec![allotment_covers(account, added)], all_used, Vec::new())]; // 1
        options.push(self.within_allotment(records, &overages_cover, all_used)); // 2
        options.extend(self.buying_blocks(records, last_seen, &overages_cover, all_used)); // 3
        options.extend(self.promised_options(records, last_seen, &overages_are_off, excess_above_hold)); // 4
        options.extend(self.promised_options(records, last_seen, &cap_is_reached, excess_above_hold)); // 5
        options
    }

    /// Returns the options by which the promised part enters *used*: a to d of the table above, each only if
    /// `conditions` hold.
    fn promised_options(
        &self,
        records: ChargeRecords,
        last_seen: Option<&Account>,
        conditions: &[Guard],
        changes: CounterChanges,
    ) -> Vec<Choice> {
        let mut options = vec![self.within_allotment(records, conditions, changes)]; // a
        let fits = last_seen.is_some_and(|account| account.used + changes.used <= account.allotment());
        if changes.used == 0 || fits {
            return options;
        }
        if self.basis == Basis::Overage {
            options.extend(self.buying_blocks(records, last_seen, conditions, changes)); // b
            return options;
        }
        let account = records.account;
        let above_cap = cap_of_used(account, changes.used);
        let may_buy = [conditions, &[overages_on(account), Guard::AtMostZero(above_cap.clone())]].concat();
        options.extend(self.buying_blocks(records, last_seen, &may_buy, changes)); // c
        for may_not_buy in [vec![overages_off(account)], vec![overages_on(account), above_zero(above_cap)]] {
            let guards = [conditions, &may_not_buy].concat();
            options.push(self.option(records, guards, changes, vec![waive(account, changes.used)])); // d
        }
        options
    }

    /// Returns the option in which *used* stays within the allotment.
    fn within_allotment(&self, records: ChargeRecords, conditions: &[Guard], changes: CounterChanges) -> Choice {
        let mut guards = conditions.to_vec();
        guards.push(Guard::AtMostZero(excess_of_used(records.account, changes.used)));
        self.option(records, guards, changes, Vec::new())
    }

    /// Returns the options in which *used* exceeds the allotment: one for each number of blocks that may be needed,
    /// guarded by exactly that number being needed (rule 5).
    ///
    /// The number of blocks is a guess from `last_seen`, so its neighbours are included. The store assigns the blocks'
    /// numbers. So commits of a team that buy blocks at the same time do not conflict, and each number is still given
    /// once (I4).
    fn buying_blocks(
        &self,
        records: ChargeRecords,
        last_seen: Option<&Account>,
        conditions: &[Guard],
        changes: CounterChanges,
    ) -> Vec<Choice> {
        // used is never above the allotment, so this commit cannot exceed it by more than its own amount.
        let max_blocks = blocks_for(changes.used);
        let excess = last_seen.map_or(changes.used, |account| account.used + changes.used - account.allotment());
        let likely = blocks_for(excess).clamp(1, max_blocks.max(1));
        let candidates = (likely - 1).max(1)..=(likely + 1).min(max_blocks);
        let buying = |blocks: i64| {
            let excess = excess_of_used(records.account, changes.used);
            let bought = OVERAGE_BLOCK_CREDITS * blocks;
            let mut guards = conditions.to_vec();
            guards.extend([
                Guard::AtMostZero(excess.clone().plus_constant(-bought)),
                above_zero(excess.plus_constant(OVERAGE_BLOCK_CREDITS - bought)),
            ]);
            let charged = charge_fields(records.account, blocks);
            let writes = vec![
                Write::Add(records.account, "blocks", blocks),
                Write::Append { log: records.charges, fields: charged, keep: None },
            ];
            self.option(records, guards, changes, writes)
        };
        candidates.map(buying).collect()
    }

    /// Returns an option with these guards. It changes the counters and does the other `writes`.
    fn option(
        &self,
        records: ChargeRecords,
        guards: Vec<Guard>,
        changes: CounterChanges,
        mut writes: Vec<Write>,
    ) -> Choice {
        let counters = [
            (self.held_counter, -self.released),
            ("used", changes.used),
            ("run_completion", self.run_completion),
            ("above_hold", changes.above_hold),
        ];
        let changed = counters.into_iter().filter(|(_, change)| *change != 0);
        writes.extend(changed.map(|(field, change)| Write::Add(records.account, field, change)));
        Choice { guards, writes }
    }
}

/// Returns how many blocks cover this many credits above the allotment.
fn blocks_for(credits: i64) -> i64 {
    -(-credits).div_euclid(OVERAGE_BLOCK_CREDITS)
}

fn overages_off(account: RecordRef) -> Guard {
    Guard::FieldEquals(account, "overages_enabled", "0".to_owned())
}

/// The guard that the expression is above 0.
fn above_zero(linear: Linear) -> Guard {
    Guard::AtMostZero(linear.negated().plus_constant(1))
}

/// Returns the write that waives the difference: the allotment becomes exactly what is then used.
fn waive(account: RecordRef, used: i64) -> Write {
    let waived = Linear::default().plus(1, account, "waived");
    let needed = excess_of_used(account, used).plus(1, account, "waived");
    Write::Set(account, "waived", Value::Greatest(vec![waived, needed]))
}
