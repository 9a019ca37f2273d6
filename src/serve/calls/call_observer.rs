//! A call of the contract from its headers to its answer: it is counted, and has a span where its caller traces it.

use tonic::Code;

use crate::{metrics::InFlight, traces::CallSpan};

/// A call of the contract, for as long as it is not answered.
pub(in crate::serve) struct CallObserver<'a> {
    /// Where anybody can be told.
    pub(in crate::serve) counted: Option<InFlight<'a>>,
    /// Where its caller traces it.
    pub(in crate::serve) span: Option<CallSpan>,
}

/// Tells how a call was answered, if it is one that is followed.
pub(in crate::serve) fn answered(followed: Option<CallObserver<'_>>, code: Code) {
    let Some(CallObserver { counted, span }) = followed else { return };
    if let Some(counted) = counted {
        counted.answered(code);
    }
    if let Some(span) = span {
        span.answered(code);
    }
}
