//! Numbers as Prometheus wants them: a name, what it means, and a line for each set of labels.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::count::{BOUNDS_NS, Count, Durations};

/// Labels and their values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// One name, and all that is told under it.
pub(super) struct Family(MetricFamily);

impl Family {
    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::of(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::of(name, help, MetricType::GAUGE)
    }

    pub(super) fn histogram(name: &str, help: &str) -> Self {
        Self::of(name, help, MetricType::HISTOGRAM)
    }

    fn of(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    /// A counter's line.
    pub(super) fn count(&mut self, labels: Labels<'_>, count: &Count) {
        let mut counter = Counter::default();
        counter.set_value(float(count.now()));
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.0.mut_metric().push(metric);
    }

    /// A gauge's line.
    pub(super) fn level(&mut self, labels: Labels<'_>, level: u64) {
        let mut gauge = Gauge::default();
        gauge.set_value(float(level));
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.0.mut_metric().push(metric);
    }

    /// A histogram's lines, in seconds.
    pub(super) fn durations(&mut self, labels: Labels<'_>, durations: &Durations) {
        let (counts, sum_ns) = durations.now();
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_NS.len());
        for (in_bucket, bound_ns) in counts.iter().zip(BOUNDS_NS) {
            count += in_bucket;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(float(bound_ns) / 1e9);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(float(sum_ns) / 1e9);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }
}

impl From<Family> for MetricFamily {
    fn from(family: Family) -> Self {
        family.0
    }
}

/// Labels in the order of their names, as Prometheus compares them.
fn labelled(labels: Labels<'_>) -> Metric {
    let mut pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect();
    pairs.sort_by(|one, other| one.name().cmp(other.name()));
    Metric::from_label(pairs)
}

#[allow(clippy::cast_precision_loss, reason = "a number that Prometheus cannot hold takes centuries to count")]
fn float(number: u64) -> f64 {
    number as f64
}
