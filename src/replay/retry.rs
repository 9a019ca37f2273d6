//! The retry rule for clients: what the contract asks of everybody who calls the sidecar.
//!
//! A call whose outcome is unknown is repeated with the same id and content, and so returns its first result.

use std::time::Duration;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::clock::Clock;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes the call until it is answered, or until `patience` has passed; then returns the last error.
pub(super) async fn until_answered<Answer, Attempt>(
    clock: &Clock,
    patience: Duration,
    mut attempt: impl FnMut() -> Attempt,
) -> Result<Answer, Status>
where
    Attempt: Future<Output = Result<Response<Answer>, Status>>,
{
    let give_up_ms = clock.monotonic_ms().saturating_add(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    let mut pause = FIRST_PAUSE;
    loop {
        let status = match attempt().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        if !is_worth_repeating(&status) || clock.monotonic_ms() >= give_up_ms {
            return Err(status);
        }
        tokio::time::sleep(pause.max(asked_pause(&status))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether another attempt may be answered: the outcome is unknown, or the sidecar said that it is too busy just now.
pub(super) fn is_worth_repeating(status: &Status) -> bool {
    // Only our own side of the wire attaches a source: the connection broke, whatever code that was given.
    let broken_connection = std::error::Error::source(status).is_some();
    broken_connection
        || matches!(
            status.code(),
            Code::DeadlineExceeded | Code::Unavailable | Code::Cancelled | Code::ResourceExhausted
        )
}

fn asked_pause(status: &Status) -> Duration {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    asked.unwrap_or_default().min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempts(patience: Duration, answers: &[Option<Code>]) -> (usize, Option<Code>) {
        let mut made = 0;
        let answer = until_answered(&Clock::System, patience, || {
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
    async fn patience_ends() {
        let (made, last) = attempts(Duration::from_millis(50), &[Some(Code::Unavailable)]).await;
        assert!((2..=4).contains(&made), "{made} attempts");
        assert_eq!(last, Some(Code::Unavailable));
    }
}
