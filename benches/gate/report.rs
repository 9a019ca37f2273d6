//! All that was measured.

use serde::Serialize;

use super::{
    growth::Point, last_credits::LastCredits, matrix::Cell, metrics::WithMetrics, redis_calls::Counted,
    stopped_redis::StoppedRedis, strict_path::StrictPath,
};

/// All that was measured. As JSON it is for programs, shown it is for people (`table`).
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) cores: usize,
    pub(crate) quick: bool,
    /// When Redis flushed its append-only file.
    pub(crate) appendfsync: &'static str,
    pub(crate) rounds: usize,
    /// How long it took.
    pub(crate) seconds: i64,
    pub(crate) matrix: Vec<Cell>,
    pub(crate) strict_path: Option<StrictPath>,
    pub(crate) redis_calls: Vec<Counted>,
    pub(crate) last_credits: Option<LastCredits>,
    pub(crate) stopped_redis: Option<StoppedRedis>,
    pub(crate) metrics: Vec<WithMetrics>,
    pub(crate) growth: Vec<Point>,
}
