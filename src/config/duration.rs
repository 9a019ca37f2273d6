//! Durations as people write them.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Units that a duration is shown in, the largest first, in milliseconds.
const UNITS: [(i64, &str); 5] = [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

/// Reads a duration such as `7d`, `250ms` or `1h 30m`, in milliseconds. A day has 24 hours.
pub(super) fn parse_ms(text: &str, range: &RangeInclusive<i64>) -> Result<i64, String> {
    // Whoever forgets the unit, or writes more than a duration can hold, has to be told apart from whoever writes nonsense.
    if text.trim().parse::<f64>().is_ok() {
        return Err(format!("a duration has a unit, as in `{text}s` or `{text}ms`; write {}", words(range)));
    }
    let span: Span = match text.parse() {
        Ok(span) => span,
        Err(_) if begins_with_a_number(text) && ends_with_a_unit(text) => return Err(out_of_range(range)),
        Err(_) => return Err("a duration is written as `7d`, `1h 30m`, `30s` or `250ms`".to_owned()),
    };
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length; say it in days or hours".to_owned())?;
    // A fraction of a millisecond is none of the units that a setting can keep.
    let whole = duration.as_nanos() % 1_000_000 == 0;
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|milliseconds| whole && range.contains(milliseconds))
        .ok_or_else(|| out_of_range(range))
}

/// A range of durations, for people.
pub(super) fn words(range: &RangeInclusive<i64>) -> String {
    format!("{} to {}", word(*range.start()), word(*range.end()))
}

fn word(milliseconds: i64) -> String {
    let unit = UNITS.into_iter().find(|(unit, _)| milliseconds >= *unit && milliseconds % unit == 0);
    unit.map_or_else(|| format!("{milliseconds}ms"), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

fn out_of_range(range: &RangeInclusive<i64>) -> String {
    format!("must be {}", words(range))
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
    fn durations_are_read_as_people_write_them() {
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
    fn what_has_no_length_or_too_much_is_told_the_range() {
        for text in ["0s", "9ms", "-1h", "-5h", "4000d", "99999999999999h", "-99999999999999999999d", "10.5ms"] {
            assert_eq!(parse_ms(text, &ANY), Err("must be 10ms to 3650d".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_how_one_is_written() {
        for (text, says) in
            [("", "`1h 30m`"), ("7", "`7ms`"), ("1mo", "days or hours"), ("1y", "hours"), ("soon", "7d")]
        {
            let problem = parse_ms(text, &ANY).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
