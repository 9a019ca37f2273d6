//! Patience with a store while a sidecar starts: one that is slow for a moment is no reason to end, and be started again.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};

use crate::{gate::GateError, store::StoreError};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// How many attempts there are after the first: some seconds in all, as long as the store was waited for when it was opened.
const ATTEMPTS: usize = 20;

/// Takes a step that can be repeated until it is done, or fails for another reason than a store that does not answer.
pub(in crate::serve) async fn patiently<T, Attempt>(step: impl FnMut() -> Attempt) -> Result<T, GateError>
where
    Attempt: Future<Output = Result<T, GateError>>,
{
    step.retry(ConstantBuilder::default().with_delay(PAUSE).with_max_times(ATTEMPTS)).when(may_pass).await
}

fn may_pass(error: &GateError) -> bool {
    matches!(error, GateError::Unverified | GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_asked_again_and_any_other_refusal_counts() {
        let attempts = Cell::new(0);
        let answers = async |passing: u32, then: fn() -> Result<(), GateError>| {
            attempts.set(0);
            let attempt = || {
                attempts.set(attempts.get() + 1);
                let answer = if attempts.get() > passing { then() } else { Err(GateError::Unverified) };
                std::future::ready(answer)
            };
            patiently(attempt).await
        };
        assert!(answers(3, || Ok(())).await.is_ok());
        assert_eq!(attempts.get(), 4);
        assert!(matches!(answers(1, || Err(GateError::TeamNotFound)).await, Err(GateError::TeamNotFound)));
        assert_eq!(attempts.get(), 2);
    }
}
