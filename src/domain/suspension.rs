//! Suspensions: why a call has to wait, until when, and what lifts it (rules 3 to 5).

use super::{
    account::Account,
    hold::{Hold, Holder},
    plan::Plan,
    terms::Terms,
};

/// Default delay before a suspended call asks again, in milliseconds. It applies when no open hold is known to give
/// back enough.
pub const DEFAULT_RETRY_MS: i64 = 30_000;

/// Initial capacity of a message, in bytes. Every message fits into it.
const LONGEST_MESSAGE: usize = 224;

/// The answer that a call has to wait. It was verified by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The cause.
    pub reason: Reason,
    /// When the next cycle begins, in Unix milliseconds.
    pub resumes_at_ms: i64,
    /// When enough held credits may have come back, in Unix milliseconds. `None` if the known holds do not suffice.
    pub held_until_ms: Option<i64>,
    /// What lifts the suspension. Waiting for the next cycle is always among them.
    pub remedies: Vec<Remedy>,
}

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The team has a paid seat, and this is a new run or a test.
    LimitReached,
    /// The team has no paid seat. Its current runs stop too.
    BlocksStopped,
    /// The call would take a current run above its run ceiling.
    RunCeilingReached,
    /// Overages are on, and their cap leaves too few credits.
    OverageCapReached,
}

/// Something that lifts a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remedy {
    /// Waiting for the next cycle.
    WaitForNextCycle,
    /// Switching overages on.
    EnableOverages,
    /// Raising the cap on overage blocks.
    RaiseOverageCap,
    /// Upgrading to a plan that includes more credits, or to a paid seat.
    UpgradePlan,
}

impl Reason {
    /// Returns the reason's name in the log.
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
    /// Returns the suspension of a call for `credits` that this account could not cover.
    ///
    /// `holds` are the open holds that run out first. `in_current_run` is whether the call belongs to a current run.
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
            held_until_ms: covering_hold_ms(account, credits, holds),
            remedies: remedies(terms, account),
        }
    }

    /// Returns how long to wait before asking again, in milliseconds, at least 1.
    pub fn retry_after_ms(&self, now_ms: i64) -> i64 {
        self.held_until_ms.map_or(DEFAULT_RETRY_MS, |until_ms| (until_ms - now_ms).max(1))
    }

    /// Returns an explanation for people.
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
        // Every call of a suspended team gets this text, so it is built with one allocation.
        let mut message = String::with_capacity(LONGEST_MESSAGE);
        message.extend([cause, " What helps: "]);
        for (index, remedy) in self.remedies.iter().enumerate() {
            message.extend([if index == 0 { "" } else { ", or " }, remedy.phrase()]);
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

/// Returns when the holds that run out first will have given back enough of this cycle's credits, at the latest when
/// the cycle ends.
fn covering_hold_ms(account: &Account, credits: i64, holds: &[Hold]) -> Option<i64> {
    let mut shortfall = account.shortfall(credits);
    // The hold of a lease names what was granted. Most of it was settled or returned since, so all leases together give
    // back at most `leased`.
    let mut leased = account.leased;
    for hold in holds.iter().filter(|hold| hold.cycle_start_ms == account.cycle.start_ms) {
        let given_back = match hold.holder {
            Holder::Reservation(_) => hold.credits,
            Holder::Lease(_) => hold.credits.min(leased),
        };
        leased -= if matches!(hold.holder, Holder::Lease(_)) { given_back } else { 0 };
        shortfall -= given_back;
        if shortfall <= 0 {
            return Some(hold.expires_at_ms.min(account.cycle.end_ms));
        }
    }
    None
}
