//! Retries the steps of a start that need the store. A store that is slow for a moment must not end the sidecar.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};

use crate::{gate::GateError, store::StoreError};

/// Pause between two attempts.
const DELAY: Duration = Duration::from_millis(100);

/// Maximum number of attempts after the first one. Together they take a few seconds, as long as opening the store may take.
const MAX_RETRIES: usize = 20;

/// Repeats a step until it succeeds, fails for another reason than an unavailable store, or has no attempts left.
pub(in crate::serve) async fn with_retries<T, Attempt>(step: impl FnMut() -> Attempt) -> Result<T, GateError>
where
    Attempt: Future<Output = Result<T, GateError>>,
{
    step.retry(ConstantBuilder::default().with_delay(DELAY).with_max_times(MAX_RETRIES)).when(is_transient).await
}

fn is_transient(error: &GateError) -> bool {
    matches!(error, GateError::Unverified | GateError::Store(StoreError::Unavailable { .. } | StoreError::Overloaded))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn only_an_unavailable_store_is_retried() {
        let attempts = Cell::new(0);
        let answers = async |failures: u32, then: fn() -> Result<(), GateError>| {
            attempts.set(0);
            let attempt = || {
                attempts.set(attempts.get() + 1);
                let answer = if attempts.get() > failures { then() } else { Err(GateError::Unverified) };
                std::future::ready(answer)
            };
            with_retries(attempt).await
        };
        assert!(answers(3, || Ok(())).await.is_ok());
        assert_eq!(attempts.get(), 4);
        assert!(matches!(answers(1, || Err(GateError::TeamNotFound)).await, Err(GateError::TeamNotFound)));
        assert_eq!(attempts.get(), 2);
    }
}
