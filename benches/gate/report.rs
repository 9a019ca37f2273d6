//! All results.

use serde::Serialize;

use super::{
    growth::Point, last_credits::LastCredits, matrix::Cell, metrics::WithMetrics, redis_calls::Counted,
    stopped_redis::StoppedRedis, strict_path::StrictPath,
};

/// All results. Programs read it as JSON, and people as tables (`table`).
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) cores: usize,
    pub(crate) quick: bool,
    /// Setting of Redis for flushing its append-only file.
    pub(crate) appendfsync: &'static str,
    pub(crate) rounds: usize,
    /// Duration of the benchmark.
    pub(crate) seconds: i64,
    pub(crate) matrix: Vec<Cell>,
    pub(crate) strict_path: Option<StrictPath>,
    pub(crate) redis_calls: Vec<Counted>,
    pub(crate) last_credits: Option<LastCredits>,
    pub(crate) stopped_redis: Option<StoppedRedis>,
    pub(crate) metrics: Vec<WithMetrics>,
    pub(crate) growth: Vec<Point>,
}
