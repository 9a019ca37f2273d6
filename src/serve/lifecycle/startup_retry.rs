//! Retries the steps of a start that need the store. A store that is not up yet, or is slow for a moment, must not end the
//! sidecar.

use std::time::Duration;

use backon::{ConstantBuilder, ExponentialBuilder, Retryable as _};

use crate::{
    clock::Clock,
    gate::GateError,
    store::{OpenError, Store, StoreError, StoreLocation, StoreOptions},
};

/// First pause while the store is waited for. Each further pause is twice as long, plus a random part of it, so that sidecars
/// that start together do not connect at the same moment.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause, without its random part: a store that comes up is found within a second.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Pause between two attempts.
const DELAY: Duration = Duration::from_millis(100);

/// Maximum number of attempts after the first one. Together they take a few seconds.
const MAX_RETRIES: usize = 20;

/// Opens the store. While its server cannot be reached, tries again for `start_wait`. The attempt that is in progress then is
/// finished. Other errors are not retried.
pub(in crate::serve) async fn open_store(
    location: &StoreLocation,
    options: &StoreOptions,
    start_wait: Duration,
) -> Result<Store, OpenError> {
    let begun_ms = Clock::System.monotonic_ms();
    let waited_ms = || Clock::System.monotonic_ms() - begun_ms;
    let wait_ms = i64::try_from(start_wait.as_millis()).unwrap_or(i64::MAX);
    let pauses = ExponentialBuilder::default()
        .with_min_delay(MIN_PAUSE)
        .with_max_delay(MAX_PAUSE)
        .without_max_times()
        .with_jitter();
    let mut is_waiting = false;
    let opened = (|| Store::open(location, options.clone()))
        .retry(pauses)
        .when(|error| error.is_unreachable() && waited_ms() < wait_ms)
        .notify(|error, _| {
            if !std::mem::replace(&mut is_waiting, true) {
                tracing::warn!(store = %location, ?start_wait, %error, "the store is not available yet; waiting for it");
            }
        })
        .await;
    if opened.is_ok() && is_waiting {
        tracing::info!(store = %location, waited_ms = waited_ms(), "the store is reached");
    }
    opened
}

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
