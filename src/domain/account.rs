//! A team's account in one billing cycle: its counters, and the conditions that rules put on them.

use super::{
    Damaged, OVERAGE_BLOCK_CREDITS,
    billing_cycle::Cycle,
    terms::{NO_CAP_BLOCKS, Terms},
};
use crate::transaction::{FieldMap, Guard, Linear, RecordRef, Value};

/// The counters of one cycle, with the terms that the cycle has, or had when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The cycle.
    pub cycle: Cycle,
    /// Credits that the plan or an override includes.
    pub included: i64,
    /// Credits given so that a change of terms never bills (rule 8).
    pub waived: i64,
    /// Overage blocks bought.
    pub blocks: i64,
    /// Credits committed within the allotment.
    pub used: i64,
    /// Credits committed by current runs past the limit (rule 3).
    pub run_completion: i64,
    /// Credits committed above their hold that nothing covered (rule 7).
    pub above_hold: i64,
    /// Credits of open reservations that the allotment or overages cover.
    pub held: i64,
    /// Credits that sidecars have taken out of the allotment in advance.
    pub leased: i64,
    /// Whether commits may buy blocks.
    pub overages_enabled: bool,
    /// The most blocks, or [`NO_CAP_BLOCKS`].
    pub cap_blocks: i64,
}

impl Account {
    /// An account that nothing was written to.
    pub fn new(cycle: Cycle, included: i64, terms: &Terms) -> Self {
        Self {
            cycle,
            included,
            waived: 0,
            blocks: 0,
            used: 0,
            run_completion: 0,
            above_hold: 0,
            held: 0,
            leased: 0,
            overages_enabled: terms.overages_enabled,
            cap_blocks: terms.stored_cap_blocks(),
        }
    }

    /// included + waived + overage blocks.
    pub fn allotment(&self) -> i64 {
        self.included + self.waived + self.overage()
    }

    /// Credits bought as blocks.
    pub fn overage(&self) -> i64 {
        self.blocks * OVERAGE_BLOCK_CREDITS
    }

    /// What is left to reserve; never negative.
    pub fn remaining(&self) -> i64 {
        (self.allotment() - self.used - self.held - self.leased).max(0)
    }

    /// used + held + leased may reach this: what the allotment, and what overages may still buy, add up to. `None` is no
    /// bound.
    pub fn bound(&self) -> Option<i64> {
        if !self.overages_enabled {
            Some(self.allotment())
        } else if self.cap_blocks == NO_CAP_BLOCKS {
            None
        } else {
            let capped = self.included + self.waived + self.cap_blocks * OVERAGE_BLOCK_CREDITS;
            Some(capped.max(self.allotment()))
        }
    }

    /// How many more credits would have to come back before so many can be reserved.
    pub fn shortfall(&self, credits: i64) -> i64 {
        self.bound().map_or(0, |bound| self.used + self.held + self.leased + credits - bound)
    }

    /// Reads the record.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::new("cycle", field));
        Ok(Self {
            cycle: Cycle { start_ms: number("start")?, end_ms: number("end")? },
            included: number("included")?,
            waived: number("waived")?,
            blocks: number("blocks")?,
            used: number("used")?,
            run_completion: number("run_completion")?,
            above_hold: number("above_hold")?,
            held: number("held")?,
            leased: number("leased")?,
            overages_enabled: number("overages_enabled")? == 1,
            cap_blocks: number("cap_blocks")?,
        })
    }

    /// The record's fields, those first that most calls count with: a store may have to look for them one by one.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("used", self.used.into()),
            ("held", self.held.into()),
            ("leased", self.leased.into()),
            ("included", self.included.into()),
            ("waived", self.waived.into()),
            ("blocks", self.blocks.into()),
            ("start", self.cycle.start_ms.into()),
            ("end", self.cycle.end_ms.into()),
            ("run_completion", self.run_completion.into()),
            ("above_hold", self.above_hold.into()),
            ("overages_enabled", i64::from(self.overages_enabled).into()),
            ("cap_blocks", self.cap_blocks.into()),
        ]
    }
}

/// used + held + leased + `credits` is within the allotment.
pub fn allotment_covers(account: RecordRef, credits: i64) -> Guard {
    Guard::AtMostZero(minus_allotment(reserved(account, credits), account))
}

/// used + held + leased + `credits` is within what overages may buy; whether they are on is not asked.
pub fn overage_covers(account: RecordRef, credits: i64) -> Guard {
    Guard::AtMostZero(overage_room(account, credits))
}

/// used + held + leased + `credits` − what overages may buy.
pub fn overage_room(account: RecordRef, credits: i64) -> Linear {
    minus_cap(reserved(account, credits), account)
}

/// Overages are on in this cycle.
pub fn overages_on(account: RecordRef) -> Guard {
    Guard::FieldEquals(account, "overages_enabled", "1".to_owned())
}

/// used + `credits` − allotment: what a commit would have to buy or have waived, if positive.
pub fn excess_of_used(account: RecordRef, credits: i64) -> Linear {
    minus_allotment(Linear::constant(credits).plus(1, account, "used"), account)
}

/// used + `credits` − what overages may buy: a commit may buy if this is not positive.
pub fn cap_of_used(account: RecordRef, credits: i64) -> Linear {
    minus_cap(Linear::constant(credits).plus(1, account, "used"), account)
}

/// The time is in the cycle.
pub fn time_within(cycle: Cycle) -> [Guard; 2] {
    [not_before(cycle.start_ms), before(cycle.end_ms)]
}

/// The time is at or after this one, in Unix milliseconds.
pub fn not_before(at_ms: i64) -> Guard {
    Guard::AtMostZero(Linear::constant(at_ms).plus_now(-1))
}

/// The time is before this one, in Unix milliseconds.
pub fn before(at_ms: i64) -> Guard {
    not_after(at_ms - 1)
}

/// The time is this one, in Unix milliseconds, or before it.
pub fn not_after(at_ms: i64) -> Guard {
    Guard::AtMostZero(Linear::now_plus(-at_ms))
}

fn reserved(account: RecordRef, credits: i64) -> Linear {
    Linear::constant(credits).plus(1, account, "used").plus(1, account, "held").plus(1, account, "leased")
}

fn minus_allotment(linear: Linear, account: RecordRef) -> Linear {
    linear.plus(-1, account, "included").plus(-1, account, "waived").plus(-OVERAGE_BLOCK_CREDITS, account, "blocks")
}

fn minus_cap(linear: Linear, account: RecordRef) -> Linear {
    linear.plus(-1, account, "included").plus(-1, account, "waived").plus(-OVERAGE_BLOCK_CREDITS, account, "cap_blocks")
}
