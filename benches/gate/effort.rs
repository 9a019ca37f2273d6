//! How much is measured, and therefore how long the benchmark takes.

/// Sizes of all measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Number of rounds. Each side is measured once in a round.
    pub(crate) rounds: usize,
    /// Duration of the load before a measurement.
    pub(crate) warm_up_ms: u32,
    /// Duration of one measurement.
    pub(crate) measure_ms: u32,
    /// Numbers of concurrent calls.
    pub(crate) at_once: &'static [u32],
    /// Number of teams in rows with many teams.
    pub(crate) many_teams: u32,
    /// Numbers of concurrent calls in the measurement of growth.
    pub(crate) grown_at_once: &'static [u32],
    /// Numbers of teams in the measurement of growth.
    pub(crate) team_counts: &'static [u32],
    /// Numbers of open reservations in the measurement of growth.
    pub(crate) open_counts: &'static [u32],
    /// Number of operations whose Redis calls are counted.
    pub(crate) counted_operations: u32,
    /// Number of reserves with their commits whose Redis calls are counted: one at a time, and many concurrently.
    pub(crate) counted_pairs: [u32; 2],
    /// Number of calls of one executor in a round of the measurement of metrics.
    pub(crate) timed_operations: u32,
    /// Credits of the team that is drained.
    pub(crate) drained_credits: i64,
    /// Number of stops of Redis.
    pub(crate) stops: usize,
    /// Whether every row is also measured over a unix socket, or only those of the hot team.
    pub(crate) all_by_unix: bool,
}

impl Effort {
    /// The full benchmark, which takes about twenty minutes.
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

    /// The quick benchmark, which takes less than two minutes.
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
