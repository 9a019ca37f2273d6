//! What callers of the gate ask and are answered, in the rules' own words.

use bytes::Bytes;

use crate::domain::{
    account::Account,
    id::Id,
    plan::Plan,
    reservation::{Reservation, Trigger},
    suspension::Suspension,
    usage::{UsageCounts, UsageKey},
};

/// A hold lasts this long if the caller does not say, in milliseconds.
pub const DEFAULT_HOLD_MS: i64 = 120_000;

/// The shortest and the longest hold, in milliseconds.
pub const HOLD_RANGE_MS: std::ops::RangeInclusive<i64> = 1_000..=3_600_000;

/// The most units of one call.
pub const MAX_UNITS: u32 = 10_000;

/// CheckAndReserve.
#[derive(Clone, Debug)]
pub struct ReserveCall {
    /// The team.
    pub team: Id,
    /// The flow.
    pub flow: Id,
    /// The run; always there for [`Trigger::Run`].
    pub run: Option<Id>,
    /// The block; always there for [`Trigger::Run`].
    pub block: Option<Id>,
    /// The reservation's id; without one the gate makes one.
    pub reservation: Option<Id>,
    /// The model, or an alias of it.
    pub model: Id,
    /// 1 to [`MAX_UNITS`].
    pub units: u32,
    /// Why.
    pub trigger: Trigger,
    /// Within [`HOLD_RANGE_MS`].
    pub hold_ms: i64,
    /// Decide, and write nothing.
    pub dry_run: bool,
}

/// The answer to a CheckAndReserve.
#[derive(Clone, Debug)]
pub struct ReserveAnswer {
    /// Proceed or suspend.
    pub decision: ReserveDecision,
    /// The team's balance.
    pub balance: Balance,
}

/// Proceed or suspend.
#[derive(Clone, Debug)]
pub enum ReserveDecision {
    /// The credits are, or were, held.
    Proceed(Proceed),
    /// The call has to wait.
    Suspend(SuspendAnswer),
}

/// The credits are, or were, held.
#[derive(Clone, Debug)]
pub struct Proceed {
    /// The reservation's id; `None` for a dry run that named none.
    pub id: Option<Id>,
    /// The reservation, as it stands now.
    pub reservation: Reservation,
    /// What the caller sends back to settle it.
    pub grant: Bytes,
    /// An earlier call made it.
    pub replayed: bool,
}

/// The call has to wait.
#[derive(Clone, Debug)]
pub struct SuspendAnswer {
    /// Why, and until when.
    pub suspension: Suspension,
    /// In milliseconds, at least 1.
    pub retry_after_ms: i64,
}

/// A team's balance in one cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The plan now in force.
    pub plan: Plan,
    /// The cycle's counters.
    pub account: Account,
    /// Whether overages are on now.
    pub overages_enabled: bool,
    /// The version of a card that is announced and not yet in effect.
    pub next_rate_card: Option<String>,
}

/// Which reservation to commit, release or extend.
#[derive(Clone, Debug)]
pub struct SettleCall {
    /// The team.
    pub team: Id,
    /// The reservation.
    pub reservation: Id,
    /// From the Proceed; may be empty.
    pub grant: Bytes,
}

/// What was really used; what is not said is as it was reserved.
#[derive(Clone, Debug, Default)]
pub struct ActualUse {
    /// 0 to [`MAX_UNITS`].
    pub units: Option<u32>,
    /// A model of the reservation's card, or an alias.
    pub model: Option<Id>,
}

/// The answer to a Commit.
#[derive(Clone, Debug)]
pub struct CommitAnswer {
    /// Credits charged.
    pub credits: i64,
    /// Of the cycle that the reservation was made in.
    pub balance: Balance,
    /// An earlier call charged it.
    pub replayed: bool,
    /// The hold had run out.
    pub late: bool,
}

/// The answer to a Release.
#[derive(Clone, Debug)]
pub struct ReleaseAnswer {
    /// Of the cycle that the reservation was made in.
    pub balance: Balance,
    /// An earlier call released it.
    pub replayed: bool,
}

/// The answer to a BeginRun.
#[derive(Clone, Debug)]
pub struct BeginRunAnswer {
    /// Admitted or suspended.
    pub decision: RunDecision,
    /// The team's balance.
    pub balance: Balance,
}

/// Admitted or suspended.
#[derive(Clone, Debug)]
pub enum RunDecision {
    /// The run is current.
    Admitted {
        /// When it stops being that without an EndRun, in Unix milliseconds.
        expires_at_ms: i64,
        /// It was current already.
        replayed: bool,
    },
    /// The run has to wait.
    Suspend(SuspendAnswer),
}

/// The answer to an EndRun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndRunAnswer {
    /// Credits that the run had committed when it ended.
    pub credits: i64,
    /// It had ended already.
    pub replayed: bool,
}

/// Which page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// 1 to 1,000.
    pub size: u32,
    /// [`Paged::next`] of the page before; empty for the first page.
    pub token: String,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Leads to the next page; `None` if this is the last one.
    pub next: Option<String>,
}

/// The answer to a GetUsage.
#[derive(Clone, Debug)]
pub struct UsageAnswer {
    /// Of the cycle asked for.
    pub balance: Balance,
    /// What was committed in it.
    pub rows: Paged<(UsageKey, UsageCounts)>,
}
