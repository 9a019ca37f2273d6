//! The account of a team in one billing cycle: its counters, and the conditions that the rules put on them.

use super::{
    Damaged, OVERAGE_BLOCK_CREDITS,
    billing_cycle::Cycle,
    terms::{NO_CAP_BLOCKS, Terms},
};
use crate::transaction::{FieldMap, Guard, Linear, RecordRef, Value};

/// The counters of one cycle, and the terms that apply to the cycle or applied when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The cycle.
    pub cycle: Cycle,
    /// Credits that the plan or an override includes.
    pub included: i64,
    /// Credits given so that a change of terms never bills (rule 8).
    pub waived: i64,
    /// Number of overage blocks bought.
    pub blocks: i64,
    /// Committed credits that the allotment covered.
    pub used: i64,
    /// Credits committed by current runs past the limit (rule 3).
    pub run_completion: i64,
    /// Credits committed above their hold that nothing covered (rule 7).
    pub above_hold: i64,
    /// Credits of open reservations that the allotment or overages cover.
    pub held: i64,
    /// Credits that sidecars have taken out of the allotment in advance as leases.
    pub leased: i64,
    /// Whether commits may buy overage blocks.
    pub overages_enabled: bool,
    /// Maximum number of overage blocks, or [`NO_CAP_BLOCKS`].
    pub cap_blocks: i64,
}

impl Account {
    /// Returns the account of a cycle that has just begun.
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

    /// Returns the allotment: included + waived + overage blocks.
    pub fn allotment(&self) -> i64 {
        self.included + self.waived + self.overage()
    }

    /// Returns the credits bought as overage blocks.
    pub fn overage(&self) -> i64 {
        self.blocks * OVERAGE_BLOCK_CREDITS
    }

    /// Returns what is left to reserve. Never negative.
    pub fn remaining(&self) -> i64 {
        (self.allotment() - self.used - self.held - self.leased).max(0)
    }

    /// Returns the maximum of used + held + leased: the allotment, plus what overages may still buy. `None` if there is
    /// no maximum.
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

    /// Returns how many credits must come back before `credits` can be reserved. Zero or negative if they can be
    /// reserved now.
    pub fn shortfall(&self, credits: i64) -> i64 {
        self.bound().map_or(0, |bound| self.used + self.held + self.leased + credits - bound)
    }

    /// Reads the record.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("cycle", field));
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

    /// Returns the record's fields. The ones that most calls use come first, because a store may search them one by
    /// one.
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

/// The guard that used + held + leased + `credits` is within the allotment.
pub fn allotment_covers(account: RecordRef, credits: i64) -> Guard {
    Guard::AtMostZero(minus_allotment(reserved(account, credits), account))
}

/// The guard that used + held + leased + `credits` is within what overages may buy. It does not check whether overages
/// are on.
pub fn overage_covers(account: RecordRef, credits: i64) -> Guard {
    Guard::AtMostZero(overage_room(account, credits))
}

/// The expression used + held + leased + `credits` − what overages may buy.
pub fn overage_room(account: RecordRef, credits: i64) -> Linear {
    minus_cap(reserved(account, credits), account)
}

/// The guard that overages are on in this cycle.
pub fn overages_on(account: RecordRef) -> Guard {
    Guard::FieldEquals(account, "overages_enabled", "1".to_owned())
}

/// The expression used + `credits` − allotment. If it is positive, a commit of `credits` must buy that much, or it is
/// waived.
pub fn excess_of_used(account: RecordRef, credits: i64) -> Linear {
    minus_allotment(Linear::constant(credits).plus(1, account, "used"), account)
}

/// The expression used + `credits` − what overages may buy. If it is not positive, a commit of `credits` may buy
/// blocks.
pub fn cap_of_used(account: RecordRef, credits: i64) -> Linear {
    minus_cap(Linear::constant(credits).plus(1, account, "used"), account)
}

/// The guards that the store's time is in the cycle.
pub fn time_within(cycle: Cycle) -> [Guard; 2] {
    [not_before(cycle.start_ms), before(cycle.end_ms)]
}

/// The guard that the store's time is at or after this time in Unix milliseconds.
pub fn not_before(at_ms: i64) -> Guard {
    Guard::AtMostZero(Linear::constant(at_ms).plus_now(-1))
}

/// The guard that the store's time is before this time in Unix milliseconds.
pub fn before(at_ms: i64) -> Guard {
    not_after(at_ms - 1)
}

/// The guard that the store's time is at or before this time in Unix milliseconds.
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
