//! Suspensions: why a call has to wait, until when, and what lifts it (rules 3 to 5).

use super::{
    account::Account,
    hold::{Hold, Holder},
    plan::Plan,
    terms::Terms,
};

/// When nothing says when held credits come back, ask again after this many milliseconds.
pub const DEFAULT_RETRY_MS: i64 = 30_000;

/// Bytes that every message has room in.
const LONGEST_MESSAGE: usize = 224;

/// A verified answer that a call has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Why.
    pub reason: Reason,
    /// The end of the cycle, in Unix milliseconds.
    pub resumes_at_ms: i64,
    /// When held credits that would suffice may come back, in Unix milliseconds, if that is known.
    pub held_until_ms: Option<i64>,
    /// What lifts it; waiting always does.
    pub remedies: Vec<Remedy>,
}

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A paid seat, and a new run or a test.
    LimitReached,
    /// No paid seat: current runs stop too.
    BlocksStopped,
    /// The call would take a current run above what it may use past the limit.
    RunCeilingReached,
    /// Overages are on, and the cap leaves too little room.
    OverageCapReached,
}

/// What lifts a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remedy {
    /// The next cycle.
    WaitForNextCycle,
    /// Switching overages on.
    EnableOverages,
    /// A higher cap on blocks.
    RaiseOverageCap,
    /// A plan that includes more; it includes a seat.
    UpgradePlan,
}

impl Reason {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::LimitReached => "limit_reached",
            Self::BlocksStopped => "blocks_stopped",
            Self::RunCeilingReached => "run_ceiling_reached",
            Self::OverageCapReached => "overage_cap_reached",
        }
    }
}

impl Suspension {
    /// The suspension of a call that asked for so many credits and was refused in this account.
    ///
    /// `holds` are the open reservations whose holds run out first; `in_current_run` tells whether the call could have
    /// completed a current run.
    pub fn new(terms: &Terms, account: &Account, credits: i64, holds: &[Hold], in_current_run: bool) -> Self {
        let reason = if !terms.paid_seat {
            Reason::BlocksStopped
        } else if in_current_run {
            Reason::RunCeilingReached
        } else if account.overages_enabled {
            Reason::OverageCapReached
        } else {
            Reason::LimitReached
        };
        Self {
            reason,
            resumes_at_ms: account.cycle.end_ms,
            held_until_ms: sufficing_hold_ms(account, credits, holds),
            remedies: remedies(terms, account),
        }
    }

    /// How long to wait before asking again, in milliseconds, at least 1.
    pub fn retry_after_ms(&self, now_ms: i64) -> i64 {
        self.held_until_ms.map_or(DEFAULT_RETRY_MS, |until_ms| (until_ms - now_ms).max(1))
    }

    /// The same in a sentence, for people.
    pub fn message(&self) -> String {
        let cause = match self.reason {
            Reason::LimitReached => {
                "The credits left in this cycle do not cover this call; current runs complete, new ones wait."
            }
            Reason::BlocksStopped => "The credits left in this cycle do not cover this call, and blocks have stopped.",
            Reason::RunCeilingReached => {
                "This call would take the run above what a current run may use past the limit."
            }
            Reason::OverageCapReached => "Overages are on, and their cap leaves too few credits for this call.",
        };
        // It is told to each call of a suspended team, so it is put together in one piece.
        let mut message = String::with_capacity(LONGEST_MESSAGE);
        message.extend([cause, " What helps: "]);
        for (place, remedy) in self.remedies.iter().enumerate() {
            message.extend([if place == 0 { "" } else { ", or " }, remedy.phrase()]);
        }
        message.push('.');
        message
    }
}

impl Remedy {
    fn phrase(self) -> &'static str {
        match self {
            Self::WaitForNextCycle => "waiting for the next cycle",
            Self::EnableOverages => "switching overages on",
            Self::RaiseOverageCap => "raising the overage cap",
            Self::UpgradePlan => "upgrading the plan",
        }
    }
}

fn remedies(terms: &Terms, account: &Account) -> Vec<Remedy> {
    let mut remedies = vec![Remedy::WaitForNextCycle];
    if terms.may_have_overages() {
        remedies.push(if account.overages_enabled { Remedy::RaiseOverageCap } else { Remedy::EnableOverages });
    }
    if !terms.paid_seat || terms.plan != Plan::Professional {
        remedies.push(Remedy::UpgradePlan);
    }
    remedies
}

/// When the holds that run out first have given back enough of this cycle's credits, or the cycle ends.
fn sufficing_hold_ms(account: &Account, credits: i64, holds: &[Hold]) -> Option<i64> {
    let mut shortfall = account.shortfall(credits);
    // A lease's hold says what was granted; most of it was settled or given back since.
    let mut leased = account.leased;
    for hold in holds.iter().filter(|hold| hold.cycle_start_ms == account.cycle.start_ms) {
        let coming_back = match hold.holder {
            Holder::Reservation(_) => hold.credits,
            Holder::Lease(_) => hold.credits.min(leased),
        };
        leased -= if matches!(hold.holder, Holder::Lease(_)) { coming_back } else { 0 };
        shortfall -= coming_back;
        if shortfall <= 0 {
            return Some(hold.expires_at_ms.min(account.cycle.end_ms));
        }
    }
    None
}
