//! Numbers that are counted where calls pass: plain atomics, in place, and nothing to look up, to lock or to allocate.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bounds of [`Durations`], in nanoseconds: from a store in memory to the longest that one is waited for.
pub(super) const BOUNDS_NS: [u64; 14] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
];

/// How often something happened, or how much there was of it.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// How long something took, each time.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// Up to each bound, and beyond the last.
    buckets: [Count; BOUNDS_NS.len() + 1],
    sum_ns: Count,
}

impl Count {
    /// Once more.
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more. What is counted never becomes less, so that less than nothing is nothing.
    pub(super) fn add(&self, more: i64) {
        if let Ok(more) = u64::try_from(more) {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Durations {
    /// It took so long, in nanoseconds.
    pub(super) fn took(&self, took_ns: i64) {
        let took = u64::try_from(took_ns).unwrap_or_default();
        if let Some(bucket) = self.buckets.get(BOUNDS_NS.partition_point(|bound| *bound < took)) {
            bucket.one();
        }
        self.sum_ns.add(took_ns);
    }

    /// How many there were up to each bound and beyond the last, and what they took together, in nanoseconds.
    pub(super) fn now(&self) -> ([u64; BOUNDS_NS.len() + 1], u64) {
        (std::array::from_fn(|bucket| self.buckets[bucket].now()), self.sum_ns.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_that_its_bound_includes() {
        let durations = Durations::default();
        for took_ns in [-1, 0, 10_000, 10_001, 1_000_000_000, 1_000_000_001, i64::MAX] {
            durations.took(took_ns);
        }
        let (buckets, _) = durations.now();
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (3, 1, 1, 2));
        assert_eq!(buckets.iter().sum::<u64>(), 7);
    }
}
