//! Metrics of the calls that a sidecar answers: durations by method and code, and calls refused before they reach the gate.

use std::sync::OnceLock;

use prometheus::{
    Histogram, HistogramVec, IntCounter, Registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry,
};
use tonic::Code;

use crate::{call_refusal::CallRefusal, clock::Clock};

/// The paths of all methods, the most frequent first.
const PATHS: [&str; 17] = [
    "/tollgate.v1.QuotaService/CheckAndReserve",
    "/tollgate.v1.QuotaService/Commit",
    "/tollgate.v1.QuotaService/Release",
    "/tollgate.v1.QuotaService/Extend",
    "/tollgate.v1.QuotaService/GetReservation",
    "/tollgate.v1.QuotaService/BeginRun",
    "/tollgate.v1.QuotaService/EndRun",
    "/tollgate.v1.UsageService/GetUsage",
    "/tollgate.v1.UsageService/ListCharges",
    "/tollgate.v1.AccountService/PutTeam",
    "/tollgate.v1.AccountService/GetTeam",
    "/tollgate.v1.AccountService/ListTeams",
    "/tollgate.v1.AccountService/SetOverages",
    "/tollgate.v1.AccountService/PutRateCard",
    "/tollgate.v1.AccountService/GetRateCard",
    "/tollgate.v1.AccountService/ListRateCards",
    "/tollgate.v1.AccountService/ListAuditEntries",
];

/// The `rpc` label of a call to any other path.
const OTHER: &str = "other";

/// The names of the gRPC codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Upper bounds of the buckets, in seconds, from a decision in memory to the longest time that a call may take.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// The `reason` labels of calls that were refused before they reached the gate.
const REASONS: [&str; 7] =
    ["overloaded", "too_large", "undecodable", "incomplete", "token_missing", "token_wrong", "team_not_allowed"];

/// Histograms and counters of the calls that a sidecar answers.
#[derive(Debug)]
pub struct CallMetrics {
    durations: HistogramVec,
    /// The histogram of each path and each code. It is resolved, and its series appears, with the first such answer.
    histograms: Vec<[OnceLock<Option<Histogram>>; CODES.len()]>,
    clock: Clock,
    refusals: Vec<(&'static str, IntCounter)>,
}

/// A call in flight. Dropping it without an answer counts the call as CANCELLED, because its client gave it up.
#[derive(Debug)]
pub struct InFlight<'a> {
    metrics: &'a CallMetrics,
    /// Index of the path, or the number of paths for any other one.
    rpc: usize,
    started_ns: i64,
    code: Code,
}

impl CallMetrics {
    /// Creates the metrics and registers them.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let durations = register_histogram_vec_with_registry!(
            "tollgate_call_duration_seconds",
            "How long calls took, from their headers to their answers, by method and code.",
            &["rpc", "code"],
            BUCKETS.to_vec(),
            registry
        )?;
        let refusals = register_int_counter_vec_with_registry!(
            "tollgate_calls_refused_total",
            "Calls that were refused before they reached the gate, by reason.",
            &["reason"],
            registry
        )?;
        let refusals = REASONS.iter().map(|reason| Ok((*reason, refusals.get_metric_with_label_values(&[reason])?)));
        Ok(Self {
            durations,
            histograms: (0..=PATHS.len()).map(|_| std::array::from_fn(|_| OnceLock::new())).collect(),
            clock: Clock::default(),
            refusals: refusals.collect::<Result<_, prometheus::Error>>()?,
        })
    }

    /// Counts a call that was refused before it reached the gate.
    pub fn refused(&self, refusal: &CallRefusal) {
        if let Some((_, counter)) = self.refusals.iter().find(|(reason, _)| Some(*reason) == reason_of(refusal)) {
            counter.inc();
        }
    }

    /// Starts to measure a call of this path.
    pub fn begin(&self, path: &str) -> InFlight<'_> {
        let rpc = PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len());
        InFlight { metrics: self, rpc, started_ns: self.clock.monotonic_ns(), code: Code::Cancelled }
    }

    /// Counts an answer. Only the first answer of a path and code looks for its histogram.
    fn answered(&self, rpc: usize, code: Code, seconds: f64) {
        // gRPC numbers its codes from 0 without a gap.
        let number = usize::try_from(i32::from(code)).unwrap_or_default();
        let histogram = self.histograms.get(rpc).and_then(|by_code| by_code.get(number));
        if let Some(histogram) = histogram.and_then(|cell| cell.get_or_init(|| self.resolve(rpc, number)).as_ref()) {
            histogram.observe(seconds);
        }
    }

    fn resolve(&self, rpc: usize, code: usize) -> Option<Histogram> {
        let name = PATHS.get(rpc).and_then(|path| path.rsplit('/').next()).unwrap_or(OTHER);
        self.durations.get_metric_with_label_values(&[name, CODES.get(code)?]).ok()
    }
}

/// Returns the `reason` label of a refusal, or `None` for a call that was given up, which had reached the gate.
fn reason_of(refusal: &CallRefusal) -> Option<&'static str> {
    match refusal {
        CallRefusal::Overloaded => Some("overloaded"),
        CallRefusal::TooLarge(_) => Some("too_large"),
        CallRefusal::Undecodable { .. } => Some("undecodable"),
        CallRefusal::Incomplete => Some("incomplete"),
        CallRefusal::NoToken => Some("token_missing"),
        CallRefusal::WrongToken => Some("token_wrong"),
        CallRefusal::TeamNotAllowed => Some("team_not_allowed"),
        CallRefusal::Unanswered => None,
    }
}

impl InFlight<'_> {
    /// Ends the measurement with the code of the answer.
    pub fn answered(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let duration_ns = self.metrics.clock.monotonic_ns() - self.started_ns;
        #[allow(clippy::cast_precision_loss, reason = "a duration of days is still exact to the microsecond")]
        let seconds = duration_ns as f64 / 1e9;
        self.metrics.answered(self.rpc, self.code, seconds);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::{metrics::Metrics, proto::DESCRIPTORS, store::StoreLocation};

    #[test]
    fn every_method_has_a_unique_rpc_label() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let services = files.iter().flat_map(|file| &file.service);
        let methods = services.flat_map(|service| {
            service.method.iter().map(|method| format!("/tollgate.v1.{}/{}", service.name(), method.name()))
        });
        let mut methods: Vec<_> = methods.collect();
        let mut known = PATHS.map(str::to_owned).to_vec();
        methods.sort();
        known.sort();
        assert_eq!(methods, known);
        let mut names: Vec<_> = PATHS.iter().filter_map(|path| path.rsplit('/').next()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PATHS.len());
    }

    #[test]
    fn every_refusal_has_a_reason_but_an_abandoned_call_has_none() {
        let metrics = Metrics::new(&StoreLocation::Memory, 0).unwrap();
        let undecodable = CallRefusal::Undecodable { field: "request".to_owned(), problem: String::new() };
        let all = [
            CallRefusal::Overloaded,
            CallRefusal::TooLarge(1),
            undecodable,
            CallRefusal::Incomplete,
            CallRefusal::NoToken,
            CallRefusal::WrongToken,
            CallRefusal::TeamNotAllowed,
            CallRefusal::Unanswered,
        ];
        all.iter().for_each(|refusal| metrics.calls().refused(refusal));
        let text = metrics.text().unwrap();
        for reason in REASONS {
            let line = format!("tollgate_calls_refused_total{{reason=\"{reason}\"}} 1\n");
            assert!(text.contains(&line), "{reason}: {text}");
        }
        assert_eq!(all.len(), REASONS.len() + 1);
    }

    #[test]
    fn every_code_has_its_name_and_an_abandoned_call_is_cancelled() {
        let metrics = Metrics::new(&StoreLocation::Memory, 0).unwrap();
        for number in 0..17 {
            metrics.calls().begin(PATHS[1]).answered(Code::from_i32(number));
        }
        drop(metrics.calls().begin(PATHS[0]));
        metrics.calls().begin("/nothing").answered(Code::Unimplemented);
        let text = metrics.text().unwrap();
        let count = |rpc: &str, code: &str| {
            let line = format!("tollgate_call_duration_seconds_count{{code=\"{code}\",rpc=\"{rpc}\"}} 1\n");
            text.contains(&line)
        };
        for (code, name) in CODES.iter().enumerate() {
            assert!(count("Commit", name), "{code}: {text}");
        }
        assert!(count("CheckAndReserve", "CANCELLED") && count("other", "UNIMPLEMENTED"), "{text}");
        assert_eq!(
            (CODES[14], Code::Unavailable as i32, CODES[8], Code::ResourceExhausted as i32),
            ("UNAVAILABLE", 14, "RESOURCE_EXHAUSTED", 8)
        );
    }
}
