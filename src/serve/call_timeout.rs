//! How long a call may take: a little less than its client waits, and never longer than the listener allows.

use std::{pin::Pin, task::Poll, time::Duration};

use http::HeaderMap;
use tokio::time::{Sleep, sleep};

/// How long before the client's deadline a call fails, unless a tenth of the client's timeout is shorter. The client learns more
/// from the error than from its own deadline.
const BEFORE_DEADLINE: Duration = Duration::from_millis(10);

/// The timeout of a call. Its timer starts when the call first has to wait, because most calls never do.
pub(super) struct CallTimeout {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallTimeout {
    /// Returns the timeout of a call with these headers: that of the client less a margin, or `max_call_time` if that is shorter
    /// or the client has none.
    pub(super) fn of(headers: &HeaderMap, max_call_time: Duration) -> Self {
        Self { limit: limit(headers, max_call_time), timer: None }
    }

    /// Waits for a future until the timeout expires, and then returns `None`.
    pub(super) async fn bound<Work: Future + ?Sized>(&mut self, mut work: Pin<&mut Work>) -> Option<Work::Output> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let limit = self.limit;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}

fn limit(headers: &HeaderMap, max_call_time: Duration) -> Duration {
    match headers.get("grpc-timeout").and_then(|value| client_timeout(value.to_str().ok()?)) {
        Some(asked) => asked.saturating_sub(BEFORE_DEADLINE.min(asked / 10)).min(max_call_time),
        None => max_call_time,
    }
}

/// Parses a `grpc-timeout`: at most eight digits and a unit. A malformed one counts as absent.
fn client_timeout(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call fails a little before its client's deadline, and never later than any call may.
    #[test]
    fn a_call_times_out_a_little_before_its_client() {
        let max = Duration::from_secs(10);
        let limit_of = |text: &[u8]| {
            let header = http::HeaderValue::from_bytes(text).unwrap();
            limit(&HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), header)]), max)
        };
        for (text, micros) in [
            ("50m", 45_000),
            ("1000m", 990_000),
            ("2S", 1_990_000),
            ("100u", 90),
            ("99999999n", 90_000),
            ("0S", 0),
            ("10S", 9_990_000),
        ] {
            assert_eq!(limit_of(text.as_bytes()).as_micros(), micros, "{text}");
        }
        for text in ["11S", "1M", "99999999H", "", "S", "-1S", "+1S", "1x", "123456789n", "1é"] {
            assert_eq!(limit_of(text.as_bytes()), max, "{text}");
        }
        assert_eq!(limit(&HeaderMap::new(), max), max);
    }
}
