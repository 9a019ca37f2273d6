//! How much is measured, which is the time that it takes.

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How often each side has its turn.
    pub(crate) rounds: usize,
    /// Load before a measurement, in milliseconds.
    pub(crate) warm_up_ms: u32,
    /// One measurement, in milliseconds.
    pub(crate) measure_ms: u32,
    /// Calls at once.
    pub(crate) at_once: &'static [u32],
    /// Teams of the rows that have many.
    pub(crate) many_teams: u32,
    /// Calls at once, to see what growth does to them.
    pub(crate) grown_at_once: &'static [u32],
    /// Teams, to see what grows.
    pub(crate) team_counts: &'static [u32],
    /// Open reservations, to see what grows.
    pub(crate) open_counts: &'static [u32],
    /// Operations whose Redis commands are counted.
    pub(crate) counted_operations: u32,
    /// Reserves with their commits whose Redis commands are counted, one at a time and many at once.
    pub(crate) counted_pairs: [u32; 2],
    /// Calls of one executor in a round that tells what metrics cost; more executors make more.
    pub(crate) timed_operations: u32,
    /// What a team has that is drained.
    pub(crate) drained_credits: i64,
    /// How often Redis is stopped.
    pub(crate) stops: usize,
    /// Whether every row is measured by a unix socket too, or only those of the hot team.
    pub(crate) all_by_unix: bool,
}

impl Effort {
    /// Some twenty minutes.
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        warm_up_ms: 100,
        measure_ms: 500,
        at_once: &[1, 64, 256],
        many_teams: 10_000,
        grown_at_once: &[1, 64],
        team_counts: &[1, 1_000, 100_000],
        open_counts: &[1_000, 100_000, 1_000_000],
        counted_operations: 10_000,
        counted_pairs: [100_000, 100_000],
        timed_operations: 1_000,
        drained_credits: 200_000,
        stops: 5,
        all_by_unix: true,
    };

    /// Less than two minutes.
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        warm_up_ms: 50,
        measure_ms: 150,
        at_once: &[1, 64],
        many_teams: 1_000,
        grown_at_once: &[1],
        team_counts: &[1, 1_000],
        open_counts: &[1_000, 20_000],
        counted_operations: 1_000,
        counted_pairs: [2_000, 10_000],
        timed_operations: 250,
        drained_credits: 20_000,
        stops: 1,
        all_by_unix: false,
    };
}
