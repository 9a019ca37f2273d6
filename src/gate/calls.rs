//! Requests to the gate and its answers, as domain types.

use bytes::Bytes;

use crate::domain::{
    account::Account,
    id::Id,
    plan::Plan,
    reservation::{Reservation, Trigger},
    suspension::Suspension,
    usage::{UsageCounts, UsageKey},
};

/// Default duration of a hold, in milliseconds.
pub const DEFAULT_HOLD_MS: i64 = 120_000;

/// Range of the duration of a hold, in milliseconds.
pub const HOLD_RANGE_MS: std::ops::RangeInclusive<i64> = 1_000..=3_600_000;

/// Maximum number of units of one call.
pub const MAX_UNITS: u32 = 10_000;

/// A CheckAndReserve.
#[derive(Clone, Debug)]
pub struct ReserveCall {
    /// The team.
    pub team: Id,
    /// The flow.
    pub flow: Id,
    /// The run. Required for [`Trigger::Run`].
    pub run: Option<Id>,
    /// The block. Required for [`Trigger::Run`].
    pub block: Option<Id>,
    /// The reservation's id. If it is `None`, the gate makes one.
    pub reservation: Option<Id>,
    /// The model, or one of its aliases.
    pub model: Id,
    /// Number of units, from 1 to [`MAX_UNITS`].
    pub units: u32,
    /// Whether the call is part of a run, or a test.
    pub trigger: Trigger,
    /// How long to hold the credits, in milliseconds, within [`HOLD_RANGE_MS`].
    pub hold_ms: i64,
    /// Whether to decide only, without holding credits.
    pub dry_run: bool,
}

/// The answer to a CheckAndReserve.
#[derive(Clone, Debug)]
pub struct ReserveAnswer {
    /// Whether the call proceeds.
    pub decision: ReserveDecision,
    /// The team's balance.
    pub balance: Balance,
}

/// Whether a call proceeds.
#[derive(Clone, Debug)]
pub enum ReserveDecision {
    /// The credits are held.
    Proceed(Proceed),
    /// The call must wait.
    Suspend(SuspendAnswer),
}

/// A call that proceeds: its credits are held, or were held by an earlier call of the same id.
#[derive(Clone, Debug)]
pub struct Proceed {
    /// The reservation's id; `None` for a dry run without one.
    pub id: Option<Id>,
    /// The reservation as it stands now.
    pub reservation: Reservation,
    /// The grant, which the caller sends back to settle the reservation.
    pub grant: Bytes,
    /// Whether an earlier call made the reservation.
    pub replayed: bool,
}

/// A call or a run that must wait.
#[derive(Clone, Debug)]
pub struct SuspendAnswer {
    /// Why it must wait, and until when.
    pub suspension: Suspension,
    /// When to try again, in milliseconds from now; at least 1.
    pub retry_after_ms: i64,
}

/// A team's balance in one cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The plan that is in force now.
    pub plan: Plan,
    /// The cycle's counters.
    pub account: Account,
    /// Whether overages are switched on now.
    pub overages_enabled: bool,
    /// Version of a rate card that is announced and not in effect yet.
    pub next_rate_card: Option<String>,
}

/// The reservation to commit, release or extend.
#[derive(Clone, Debug)]
pub struct SettleCall {
    /// The team.
    pub team: Id,
    /// The reservation.
    pub reservation: Id,
    /// The grant that came with the Proceed, or nothing.
    pub grant: Bytes,
}

/// The actual use of a call. A field that is `None` is as it was reserved.
#[derive(Clone, Debug, Default)]
pub struct ActualUse {
    /// Number of units, from 0 to [`MAX_UNITS`].
    pub units: Option<u32>,
    /// A model of the reservation's rate card, or one of its aliases.
    pub model: Option<Id>,
}

/// The answer to a Commit.
#[derive(Clone, Debug)]
pub struct CommitAnswer {
    /// Charged credits.
    pub credits: i64,
    /// The balance of the cycle in which the reservation was made.
    pub balance: Balance,
    /// Whether an earlier call charged it.
    pub replayed: bool,
    /// Whether the hold had run out before.
    pub late: bool,
}

/// The answer to a Release.
#[derive(Clone, Debug)]
pub struct ReleaseAnswer {
    /// The balance of the cycle in which the reservation was made.
    pub balance: Balance,
    /// Whether an earlier call released it.
    pub replayed: bool,
}

/// The answer to a BeginRun.
#[derive(Clone, Debug)]
pub struct BeginRunAnswer {
    /// Whether the run is admitted.
    pub decision: RunDecision,
    /// The team's balance.
    pub balance: Balance,
}

/// Whether a run is admitted.
#[derive(Clone, Debug)]
pub enum RunDecision {
    /// The run is current.
    Admitted {
        /// When the run stops being current if no EndRun comes before, in Unix milliseconds.
        expires_at_ms: i64,
        /// Whether the run was current before.
        replayed: bool,
    },
    /// The run must wait.
    Suspend(SuspendAnswer),
}

/// The answer to an EndRun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndRunAnswer {
    /// Credits that the run had committed when it ended.
    pub credits: i64,
    /// Whether the run had ended before.
    pub replayed: bool,
}

/// The page of a list to return.
#[derive(Clone, Debug)]
pub struct Page {
    /// Maximum number of items, from 1 to 1,000.
    pub size: u32,
    /// The [`Paged::next`] of the previous page; empty for the first page.
    pub token: String,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// Token of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// The answer to a GetUsage.
#[derive(Clone, Debug)]
pub struct UsageAnswer {
    /// The balance of the requested cycle.
    pub balance: Balance,
    /// Committed use in that cycle, by day, flow, model and trigger.
    pub rows: Paged<(UsageKey, UsageCounts)>,
}
