//! Durations as people write them.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The longest duration that a setting may have: ten years, far below what a store's sums can hold.
const MAX_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// Reads a duration such as `7d`, `36h` or `1h 30m`, in milliseconds, of at least a second. A day has 24 hours.
pub(super) fn parse_ms(text: &str) -> Result<i64, String> {
    let milliseconds = parse(text)?;
    if milliseconds < 1_000 { Err("must be 1 second to 10 years of 365 days".to_owned()) } else { Ok(milliseconds) }
}

/// Reads how long something waits, such as `250ms`: a millisecond to a minute.
pub(super) fn parse_wait(text: &str) -> Result<Duration, String> {
    let milliseconds = u64::try_from(parse(text)?).unwrap_or_default();
    if (1..=60_000).contains(&milliseconds) {
        Ok(Duration::from_millis(milliseconds))
    } else {
        Err("must be 1 millisecond to 1 minute".to_owned())
    }
}

fn parse(text: &str) -> Result<i64, String> {
    let span: Span = text.parse().map_err(|_| "a duration is written as `7d`, `36h` or `1h 30m`".to_owned())?;
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length; say it in days or hours".to_owned())?;
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|milliseconds| (0..=MAX_MS).contains(milliseconds))
        .ok_or_else(|| "must be 1 second to 10 years of 365 days".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        const HOUR_MS: i64 = 3_600_000;
        let table =
            [("7d", 168), ("36h", 36), ("1w", 168), ("1d 12h", 36), ("60m", 1), ("PT2H", 2), ("3600 seconds", 1)];
        for (text, hours) in table {
            assert_eq!(parse_ms(text), Ok(hours * HOUR_MS), "{text}");
        }
    }

    #[test]
    fn what_has_no_length_or_too_much_is_refused() {
        for text in ["", "7", "0s", "999ms", "-1h", "1mo", "1y", "4000d", "soon"] {
            assert!(parse_ms(text).is_err(), "{text}");
        }
    }
}
