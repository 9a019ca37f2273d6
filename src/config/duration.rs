//! Parses and formats durations such as `7d` or `1h 30m`.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Units for display with their lengths in milliseconds, the largest first.
const UNITS: [(i64, &str); 5] = [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// Parses a duration such as `7d`, `250ms` or `1h 30m` and returns it in milliseconds. A day has 24 hours.
///
/// Fails if the text is not a duration, is outside the range, or has a fraction of a millisecond.
pub(super) fn parse_ms(text: &str, range: &RangeInclusive<i64>) -> Result<i64, String> {
    // A missing unit and a number that is too large for a duration get messages of their own.
    if text.trim().parse::<f64>().is_ok() {
        return Err(format!(
            "a duration needs a unit, such as `{text}s` or `{text}ms`; the range is {}",
            format_range(range)
        ));
    }
    let span: Span = match text.parse() {
        Ok(span) => span,
        Err(_) if begins_with_a_number(text) && ends_with_a_unit(text) => return Err(out_of_range(range)),
        Err(_) => return Err("must be a duration such as `7d`, `1h 30m`, `30s` or `250ms`".to_owned()),
    };
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years vary in length; use days or hours".to_owned())?;
    // Settings are whole milliseconds.
    let whole = duration.as_nanos() % 1_000_000 == 0;
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|milliseconds| whole && range.contains(milliseconds))
        .ok_or_else(|| out_of_range(range))
}

/// Formats a range of durations, such as `10ms to 30s`.
pub(super) fn format_range(range: &RangeInclusive<i64>) -> String {
    format!("{} to {}", format_ms(*range.start()), format_ms(*range.end()))
}

fn format_ms(milliseconds: i64) -> String {
    let unit = UNITS.into_iter().find(|(unit, _)| milliseconds >= *unit && milliseconds % unit == 0);
    unit.map_or_else(|| format!("{milliseconds}ms"), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

fn out_of_range(range: &RangeInclusive<i64>) -> String {
    format!("must be {}", format_range(range))
}

fn begins_with_a_number(text: &str) -> bool {
    text.trim_start_matches(['-', '+']).starts_with(|character: char| character.is_ascii_digit())
}

fn ends_with_a_unit(text: &str) -> bool {
    let unit = text.trim_start_matches(|character: char| !character.is_ascii_alphabetic());
    matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: RangeInclusive<i64> = 10..=3_650 * 24 * 3_600_000;

    #[test]
    fn durations_may_be_written_in_many_ways() {
        const HOUR_MS: i64 = 3_600_000;
        let table = [
            ("7d", 168 * HOUR_MS),
            ("36h", 36 * HOUR_MS),
            ("1w", 168 * HOUR_MS),
            ("1d 12h", 36 * HOUR_MS),
            ("60m", HOUR_MS),
            ("PT2H", 2 * HOUR_MS),
            ("3600 seconds", HOUR_MS),
            ("250ms", 250),
            ("0.5s", 500),
        ];
        for (text, milliseconds) in table {
            assert_eq!(parse_ms(text, &ANY), Ok(milliseconds), "{text}");
        }
    }

    #[test]
    fn a_duration_out_of_range_is_rejected_with_the_range() {
        for text in ["0s", "9ms", "-1h", "-5h", "4000d", "99999999999999h", "-99999999999999999999d", "10.5ms"] {
            assert_eq!(parse_ms(text, &ANY), Err("must be 10ms to 3650d".to_owned()), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_duration_is_rejected_with_examples() {
        for (text, expected) in
            [("", "`1h 30m`"), ("7", "`7ms`"), ("1mo", "days or hours"), ("1y", "hours"), ("soon", "7d")]
        {
            let problem = parse_ms(text, &ANY).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
