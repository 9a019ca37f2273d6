//! Metrics and trace of a call, from its headers to its response.

use tonic::Code;

use crate::{metrics::InFlight, traces::CallSpan};

/// What observes a call until it is answered.
pub(super) struct CallObserver<'a> {
    /// Its metrics, if the sidecar has a listener that shows them.
    pub(super) counted: Option<InFlight<'a>>,
    /// Its span, if its caller traces it.
    pub(super) span: Option<CallSpan>,
}

/// Records with which code a call was answered, if it is observed.
pub(super) fn answered(observer: Option<CallObserver<'_>>, code: Code) {
    let Some(CallObserver { counted, span }) = observer else { return };
    if let Some(counted) = counted {
        counted.answered(code);
    }
    if let Some(span) = span {
        span.answered(code);
    }
}
