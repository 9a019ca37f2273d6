//! How calls of the contract were answered, and how long that took.

use std::sync::OnceLock;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, core::Collector};
use tonic::Code;

use crate::{call_refusal::CallRefusal, clock::Clock};

/// The calls of the contract, those first that are asked most.
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

/// What a call is counted as that is none of them.
const OTHER: &str = "other";

/// The names of the codes of gRPC, by their numbers.
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

/// From a decision in memory to the longest that a call may take, in seconds.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// Why calls never come to what decides.
const REFUSED: [&str; 7] =
    ["overloaded", "too_large", "undecodable", "incomplete", "token_missing", "token_wrong", "team_not_allowed"];

/// How calls were answered, and how long that took.
#[derive(Debug)]
pub struct CallMetrics {
    family: HistogramVec,
    /// For each call and each code, once there was such an answer.
    children: Vec<[OnceLock<Option<Histogram>>; CODES.len()]>,
    clock: Clock,
    refused: IntCounterVec,
    reasons: Vec<(&'static str, IntCounter)>,
}

/// A call that is being answered. One that is dropped before it was answered was given up by its client.
#[derive(Debug)]
pub struct InFlight<'a> {
    metrics: &'a CallMetrics,
    rpc: usize,
    begun_ns: i64,
    code: Code,
}

impl CallMetrics {
    /// Nothing was called yet.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let help = "How long calls took, from their headers to their answers, by method and code.";
        let options = HistogramOpts::new("tollgate_call_duration_seconds", help).buckets(BUCKETS.to_vec());
        let family = HistogramVec::new(options, &["rpc", "code"])?;
        let children = (0..=PATHS.len()).map(|_| std::array::from_fn(|_| OnceLock::new())).collect();
        let help = "Calls that were refused before they came to what decides.";
        let refused = IntCounterVec::new(Opts::new("tollgate_calls_refused_total", help), &["reason"])?;
        let reasons = REFUSED.iter().map(|reason| Ok((*reason, refused.get_metric_with_label_values(&[*reason])?)));
        let reasons = reasons.collect::<Result<_, prometheus::Error>>()?;
        Ok(Self { family, children, clock: Clock::default(), refused, reasons })
    }

    pub(super) fn durations(&self) -> impl Collector + 'static {
        self.family.clone()
    }

    pub(super) fn refusals(&self) -> impl Collector + 'static {
        self.refused.clone()
    }

    /// A call was refused before it came to what decides.
    pub fn refused(&self, refusal: &CallRefusal) {
        if let Some((_, count)) = self.reasons.iter().find(|(reason, _)| Some(*reason) == reason_of(refusal)) {
            count.inc();
        }
    }

    /// A call of this path begins.
    pub fn begin(&self, path: &str) -> InFlight<'_> {
        let rpc = PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len());
        InFlight { metrics: self, rpc, begun_ns: self.clock.monotonic_ns(), code: Code::Cancelled }
    }

    /// Counts an answer. Only the first of its kind looks for its histogram.
    fn answered(&self, rpc: usize, code: Code, seconds: f64) {
        // The codes of gRPC are numbered from zero without a gap.
        let number = usize::try_from(i32::from(code)).unwrap_or_default();
        let child = self.children.get(rpc).and_then(|of_rpc| of_rpc.get(number));
        if let Some(histogram) = child.and_then(|child| child.get_or_init(|| self.find(rpc, number)).as_ref()) {
            histogram.observe(seconds);
        }
    }

    fn find(&self, rpc: usize, code: usize) -> Option<Histogram> {
        let name = PATHS.get(rpc).and_then(|path| path.rsplit('/').next()).unwrap_or(OTHER);
        self.family.get_metric_with_label_values(&[name, CODES.get(code)?]).ok()
    }
}

/// `None` of a call that was given up: it came to what decides.
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
    /// It is answered with this code.
    pub fn answered(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let took_ns = self.metrics.clock.monotonic_ns() - self.begun_ns;
        #[allow(clippy::cast_precision_loss, reason = "a duration of days is still exact to the microsecond")]
        let seconds = took_ns as f64 / 1e9;
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
    fn every_call_of_the_contract_is_counted_by_its_name_and_the_names_differ() {
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
    fn every_refusal_has_a_line_and_what_was_given_up_has_none() {
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
        for reason in REFUSED {
            let line = format!("tollgate_calls_refused_total{{reason=\"{reason}\"}} 1\n");
            assert!(text.contains(&line), "{reason}: {text}");
        }
        assert_eq!(all.len(), REFUSED.len() + 1);
    }

    #[test]
    fn every_code_has_its_name_and_a_call_that_was_given_up_is_cancelled() {
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
