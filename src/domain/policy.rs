//! Settings of the rules that an installation may choose.

/// What the rules leave open, with the defaults of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a run stays current without an EndRun, in milliseconds (rule 3).
    pub run_max_age_ms: i64,
    /// Credits that one current run may use past the limit (rule 3); `None` is unlimited.
    pub run_completion_credits: Option<i64>,
    /// How far ahead a rate card has to be announced, in milliseconds (rule 1).
    pub rate_card_notice_ms: i64,
    /// How long a committed reservation answers repeats, in milliseconds; for [`MIN_COMMIT_RETENTION_MS`] at least.
    pub committed_retention_ms: i64,
    /// How long an expired or released reservation answers, in milliseconds. An expired one can be committed until then.
    pub unsettled_retention_ms: i64,
}

const HOUR_MS: i64 = 3_600_000;

impl Default for Policy {
    fn default() -> Self {
        Self {
            run_max_age_ms: 24 * HOUR_MS,
            run_completion_credits: Some(1_000),
            rate_card_notice_ms: 7 * 24 * HOUR_MS,
            committed_retention_ms: 2 * HOUR_MS,
            unsettled_retention_ms: 24 * HOUR_MS,
        }
    }
}

/// A hold lasts at most so long after the reservation was made, however often it is extended, in milliseconds.
pub const MAX_HOLD_AGE_MS: i64 = 24 * HOUR_MS;

/// The record of a commit is kept for so long at least, in milliseconds: longer than anything can be drawn from a lease, and held, so
/// that what was opened from one is not charged again by its grant.
pub const MIN_COMMIT_RETENTION_MS: i64 = 300_000;

impl Policy {
    /// How long the record of a commit is kept, in milliseconds.
    pub fn commit_retention_ms(&self) -> i64 {
        self.committed_retention_ms.max(MIN_COMMIT_RETENTION_MS)
    }

    /// How long a run's record stays, in milliseconds: until no reservation of the run can still be committed.
    pub fn run_retention_ms(&self) -> i64 {
        self.run_max_age_ms + MAX_HOLD_AGE_MS + self.unsettled_retention_ms + HOUR_MS
    }
}
