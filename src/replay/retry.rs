//! The retry rule that the gRPC contract requires of clients.
//!
//! A client repeats a call whose outcome is unknown with the same id and content. The sidecar then returns the first result.

use std::time::Duration;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::clock::Clock;

/// First backoff.
const INITIAL_BACKOFF: Duration = Duration::from_millis(20);
/// Maximum backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Repeats the call until it is answered or must not be repeated, or until `timeout` has passed. Then returns the last error.
pub(super) async fn until_answered<Answer, Attempt>(
    clock: &Clock,
    timeout: Duration,
    mut attempt: impl FnMut() -> Attempt,
) -> Result<Answer, Status>
where
    Attempt: Future<Output = Result<Response<Answer>, Status>>,
{
    let give_up_ms = clock.monotonic_ms().saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    let mut backoff = INITIAL_BACKOFF;
    loop {
        let status = match attempt().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        if !is_retryable(&status) || clock.monotonic_ms() >= give_up_ms {
            return Err(status);
        }
        tokio::time::sleep(backoff.max(requested_delay(&status))).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// Returns whether another attempt may succeed: the outcome is unknown, or the sidecar is overloaded.
pub(super) fn is_retryable(status: &Status) -> bool {
    // Only the client side attaches a source, when the connection broke.
    let broken_connection = std::error::Error::source(status).is_some();
    broken_connection
        || matches!(
            status.code(),
            Code::DeadlineExceeded | Code::Unavailable | Code::Cancelled | Code::ResourceExhausted
        )
}

/// Returns the delay that the sidecar asks for in RetryInfo.
fn requested_delay(status: &Status) -> Duration {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    delay.unwrap_or_default().min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempts(timeout: Duration, answers: &[Option<Code>]) -> (usize, Option<Code>) {
        let mut made = 0;
        let answer = until_answered(&Clock::System, timeout, || {
            let answer = answers[made.min(answers.len() - 1)];
            made += 1;
            async move { answer.map_or(Ok(Response::new(())), |code| Err(Status::new(code, "no"))) }
        })
        .await;
        (made, answer.err().map(|status| status.code()))
    }

    #[tokio::test]
    async fn a_call_of_unknown_outcome_is_repeated() {
        let answers = [Some(Code::DeadlineExceeded), Some(Code::Unavailable), Some(Code::Cancelled), None];
        assert_eq!(attempts(Duration::from_secs(60), &answers).await, (4, None));
    }

    #[tokio::test]
    async fn a_refused_call_is_not_repeated() {
        let answers = [Some(Code::InvalidArgument)];
        assert_eq!(attempts(Duration::from_secs(60), &answers).await, (1, Some(Code::InvalidArgument)));
    }

    #[tokio::test]
    async fn retries_end_at_the_timeout() {
        let (made, last) = attempts(Duration::from_millis(50), &[Some(Code::Unavailable)]).await;
        assert!((2..=4).contains(&made), "{made} attempts");
        assert_eq!(last, Some(Code::Unavailable));
    }
}
