//! Charging: the ways in which a commit can enter an account, in the order of the rules (rules 5, 7 and 8).
//!
//! A commit has a part within its hold, which was promised, and an excess above it. The promised part always enters
//! *used*. Where that takes used above the allotment, blocks are bought; where overages may not buy, the terms were
//! lowered after the promise, and the difference is waived. The excess draws the allotment, else overages, else counts
//! as above hold. The options exclude each other but for their order, so that a wrong belief about the account can only
//! refuse a transaction, never choose a wrong option.

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
    /// What is held no more.
    pub(crate) released: i64,
    /// The counter that it leaves: *held*, or *leased*.
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

/// The records of an account that a charge changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChargeRecords {
    pub(crate) account: RecordRef,
    pub(crate) charges: RecordRef,
    /// The index of open holds.
    pub(crate) holds: RecordRef,
    /// The leases that may still be drawn from, which are called back before an excess draws on anything but the allotment; `None` if
    /// that was tried.
    pub(crate) open_leases: Option<RecordRef>,
}

impl ChargeRecords {
    /// What an option of a charge enters into the account apart from *used*.
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

/// What a commit enters into its account apart from *used*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitEffects {
    /// Overage blocks that it buys.
    pub blocks: i64,
    /// Credits that a current run used past the limit.
    pub run_completion: i64,
    /// Credits above the hold that nothing covered.
    pub above_hold: i64,
}

/// What a set of options does to the account.
#[derive(Clone, Copy)]
struct CounterChanges {
    /// Enters *used*.
    used: i64,
    /// Enters *above hold*.
    above_hold: i64,
}

impl CommitAmounts {
    /// The options of this charge. `believed` is what the account last looked like, by which options that will not be
    /// needed are left out; where it is wrong, the transaction is refused, and tried again with what is so.
    pub(crate) fn options(&self, records: ChargeRecords, believed: Option<&Account>) -> Vec<Choice> {
        let promised = CounterChanges { used: self.promised, above_hold: 0 };
        if self.excess == 0 {
            return self.promised_options(records, believed, &[], promised);
        }
        let account = records.account;
        let added = self.promised + self.excess - self.released;
        let drawn = CounterChanges { used: self.promised + self.excess, above_hold: 0 };
        let above = CounterChanges { above_hold: self.excess, ..promised };

        let mut options = vec![self.option(records, vec![allotment_covers(account, added)], drawn, Vec::new())];
        // What due holds and idle leases give back comes first, or the answer would depend on when somebody swept.
        let mut nothing_to_recover = vec![Guard::NothingDue(records.holds)];
        nothing_to_recover.extend(records.open_leases.map(Guard::NothingAhead));
        let only_if = |conditions: &[Guard]| [&nothing_to_recover, conditions].concat();
        let overages_cover = only_if(&[overages_on(account), overage_covers(account, added)]);
        options.push(self.within_allotment(records, &overages_cover, drawn));
        options.extend(self.buying_blocks(records, believed, &overages_cover, drawn));
        options.extend(self.promised_options(records, believed, &only_if(&[overages_off(account)]), above));
        let no_room = only_if(&[overages_on(account), above_zero(overage_room(account, added))]);
        options.extend(self.promised_options(records, believed, &no_room, above));
        options
    }

    /// The ways in which the promised part enters *used*, whatever the switch says now.
    fn promised_options(
        &self,
        records: ChargeRecords,
        believed: Option<&Account>,
        when: &[Guard],
        entry: CounterChanges,
    ) -> Vec<Choice> {
        let mut options = vec![self.within_allotment(records, when, entry)];
        let fits = believed.is_some_and(|believed| believed.used + entry.used <= believed.allotment());
        if entry.used == 0 || fits {
            return options;
        }
        if self.basis == Basis::Overage {
            options.extend(self.buying_blocks(records, believed, when, entry));
            return options;
        }
        let cap = cap_of_used(records.account, entry.used);
        let mut buying = when.to_vec();
        buying.extend([overages_on(records.account), Guard::AtMostZero(cap.clone())]);
        options.extend(self.buying_blocks(records, believed, &buying, entry));
        for may_not_buy in [vec![overages_off(records.account)], vec![overages_on(records.account), above_zero(cap)]] {
            let guards = when.iter().cloned().chain(may_not_buy).collect();
            options.push(self.option(records, guards, entry, vec![waive(records.account, entry.used)]));
        }
        options
    }

    /// used stays within the allotment.
    fn within_allotment(&self, records: ChargeRecords, when: &[Guard], entry: CounterChanges) -> Choice {
        let mut guards = when.to_vec();
        guards.push(Guard::AtMostZero(excess_of_used(records.account, entry.used)));
        self.option(records, guards, entry, Vec::new())
    }

    /// used passes the allotment, and exactly as many blocks are bought as that takes (rule 5). How many those are is
    /// believed; their numbers are the store's to say, so that commits of a team that buy blocks do not make each other
    /// wait, and each number is still given once (I4).
    fn buying_blocks(
        &self,
        records: ChargeRecords,
        believed: Option<&Account>,
        when: &[Guard],
        entry: CounterChanges,
    ) -> Vec<Choice> {
        // used never is above the allotment, so a charge cannot exceed it by more than itself.
        let most = blocks_for(entry.used);
        let excess = believed.map_or(entry.used, |believed| believed.used + entry.used - believed.allotment());
        let likely = blocks_for(excess).clamp(1, most.max(1));
        let candidates = (likely - 1).max(1)..=(likely + 1).min(most);
        let crossing = |blocks: i64| {
            let mut guards = when.to_vec();
            let excess = excess_of_used(records.account, entry.used);
            let bought = OVERAGE_BLOCK_CREDITS * blocks;
            guards.extend([
                Guard::AtMostZero(excess.clone().plus_constant(-bought)),
                above_zero(excess.plus_constant(OVERAGE_BLOCK_CREDITS - bought)),
            ]);
            let charged = charge_fields(records.account, blocks);
            let writes = vec![
                Write::Add(records.account, "blocks", blocks),
                Write::Append { log: records.charges, fields: charged, keep: None },
            ];
            self.option(records, guards, entry, writes)
        };
        candidates.map(crossing).collect()
    }

    fn option(
        &self,
        records: ChargeRecords,
        guards: Vec<Guard>,
        entry: CounterChanges,
        mut writes: Vec<Write>,
    ) -> Choice {
        let changes = [
            (self.held_counter, -self.released),
            ("used", entry.used),
            ("run_completion", self.run_completion),
            ("above_hold", entry.above_hold),
        ];
        let changes = changes.into_iter().filter(|(_, change)| *change != 0);
        writes.extend(changes.map(|(field, change)| Write::Add(records.account, field, change)));
        Choice { guards, writes }
    }
}

/// So many credits above the allotment take so many blocks.
fn blocks_for(credits: i64) -> i64 {
    -(-credits).div_euclid(OVERAGE_BLOCK_CREDITS)
}

fn overages_off(account: RecordRef) -> Guard {
    Guard::FieldEquals(account, "overages_enabled", "0".to_owned())
}

/// The expression is above 0.
fn above_zero(linear: Linear) -> Guard {
    Guard::AtMostZero(linear.negated().plus_constant(1))
}

/// The difference is waived: the allotment becomes exactly what is used then.
fn waive(account: RecordRef, used: i64) -> Write {
    let waived = Linear::default().plus(1, account, "waived");
    let needed = excess_of_used(account, used).plus(1, account, "waived");
    Write::Set(account, "waived", Value::Greatest(vec![waived, needed]))
}
