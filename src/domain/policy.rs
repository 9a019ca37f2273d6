//! Settings of the rules that an installation may choose.

/// Settings of the rules. The defaults are the product's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a run stays current without an EndRun, in milliseconds (rule 3).
    pub run_max_age_ms: i64,
    /// Maximum number of credits that one current run may use past the limit (rule 3). `None` means unlimited.
    pub run_completion_credits: Option<i64>,
    /// How long before its effective time a rate card must be announced, in milliseconds (rule 1).
    pub rate_card_notice_ms: i64,
    /// How long the record of a commit is kept to answer repeated calls, in milliseconds. At least
    /// [`MIN_COMMIT_RETENTION_MS`] is used.
    pub committed_retention_ms: i64,
    /// How long the record of an expired or released reservation is kept, in milliseconds. An expired one can be
    /// committed until then.
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

/// Maximum time from making a reservation to the end of its hold, in milliseconds, however often the hold is extended.
pub const MAX_HOLD_AGE_MS: i64 = 24 * HOUR_MS;

/// Minimum retention of the record of a commit, in milliseconds. It is longer than anything can be drawn from a lease
/// and held. Otherwise the grant of a reservation that was opened from a lease could be charged a second time after the
/// record of its commit was removed.
pub const MIN_COMMIT_RETENTION_MS: i64 = 300_000;

impl Policy {
    /// Returns how long the record of a commit is kept, in milliseconds.
    pub fn commit_retention_ms(&self) -> i64 {
        self.committed_retention_ms.max(MIN_COMMIT_RETENTION_MS)
    }

    /// Returns how long a run's record is kept, in milliseconds: until no reservation of the run can be committed any
    /// more.
    pub fn run_retention_ms(&self) -> i64 {
        self.run_max_age_ms + MAX_HOLD_AGE_MS + self.unsettled_retention_ms + HOUR_MS
    }
}
