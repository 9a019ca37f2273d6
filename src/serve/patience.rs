//! Patience with a store while a sidecar starts: one that is slow for a moment is no reason to end, and be started again.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};

use crate::{gate::GateError, store::StoreError};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// How many attempts there are after the first: some seconds in all, as long as the store was waited for when it was opened.
const ATTEMPTS: usize = 20;

/// Takes a step that can be repeated until it is done, or fails for another reason than a store that does not answer.
pub(super) async fn patiently<T, Attempt>(step: impl FnMut() -> Attempt) -> Result<T, GateError>
where
    Attempt: Future<Output = Result<T, GateError>>,
{
    step.retry(ConstantBuilder::default().with_delay(PAUSE).with_max_times(ATTEMPTS)).when(may_pass).await
}

fn may_pass(error: &GateError) -> bool {
    matches!(error, GateError::Unverified | GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded))
}
