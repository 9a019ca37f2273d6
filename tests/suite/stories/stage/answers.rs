//! Times in readable form, and the details that every error has.

use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Returns the Unix milliseconds of a time such as 2025-06-10T09:00:00Z.
pub(crate) fn milliseconds(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_millisecond()
}

/// Returns the timestamp of the contract for such a time.
pub(crate) fn moment(time: &str) -> prost_types::Timestamp {
    let time: Timestamp = time.parse().unwrap();
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// Returns a timestamp of the contract in readable form.
#[track_caller]
pub(crate) fn at(moment: Option<prost_types::Timestamp>) -> String {
    let moment = moment.expect("the time is set");
    Timestamp::new(moment.seconds, moment.nanos).unwrap().to_string()
}

/// Checks that an error has this code and reason, and the detail that belongs to its code.
#[track_caller]
pub(crate) fn check_refusal(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("tollgate", reason), "{status}");
    assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{status:?}");
    assert_eq!(details.precondition_failure().is_some(), code == Code::FailedPrecondition, "{status:?}");
    assert!(!status.message().is_empty());
}

/// Returns the field that an error blames.
#[track_caller]
pub(crate) fn violated_field(status: &Status) -> String {
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    let [violation] = violations.as_slice() else { panic!("not one violation: {violations:?}") };
    assert!(!violation.description.is_empty());
    violation.field.clone()
}
