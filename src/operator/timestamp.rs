//! Timestamps and durations: the timestamps of the gRPC contract, their input and display formats, and RFC 3339.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A timestamp of the gRPC contract.
pub(super) type ProtoTimestamp = prost_types::Timestamp;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Parses a date, which means 00:00 UTC, or a timestamp in RFC 3339.
pub(super) fn parse(text: &str) -> Result<ProtoTimestamp, String> {
    let date = |text: &str| Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let is_date = !text.contains([':', 'T', ' ']);
    let at = if is_date { date(text) } else { text.parse::<Timestamp>().ok() };
    let at = at.ok_or_else(|| "expected a date (2026-11-01) or a time (2026-11-01T12:00:00Z)".to_owned())?;
    Ok(ProtoTimestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }.normalized())
}

/// Formats a timestamp as RFC 3339, or as an empty text if there is none.
pub(super) fn rfc3339(timestamp: Option<ProtoTimestamp>) -> String {
    from_proto(timestamp).map_or(String::new(), |at| at.to_string())
}

/// Formats a timestamp for people: as a date if it is 00:00 UTC, otherwise as date and time.
pub(super) fn display(timestamp: Option<ProtoTimestamp>) -> String {
    let Some(at) = from_proto(timestamp) else { return "–".to_owned() };
    let format = if at.as_millisecond() % DAY_MS == 0 { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" };
    at.strftime(format).to_string()
}

/// Returns a timestamp in Unix milliseconds.
pub(super) fn unix_ms(timestamp: Option<ProtoTimestamp>) -> Option<i64> {
    from_proto(timestamp).map(Timestamp::as_millisecond)
}

/// Formats a duration for people, in its two largest units.
pub(super) fn human_duration(milliseconds: i64) -> String {
    let units = [("day", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS)];
    let milliseconds = milliseconds.max(0);
    let largest = units.iter().position(|(_, unit)| milliseconds >= *unit).unwrap_or(units.len() - 1);
    let mut rest = milliseconds;
    let mut parts = Vec::new();
    for (name, unit) in units.iter().skip(largest).take(2) {
        let count = rest / unit;
        rest %= unit;
        if count > 0 || parts.is_empty() {
            let plural = if *name == "day" && count != 1 { "s" } else { "" };
            parts.push(format!("{count} {name}{plural}"));
        }
    }
    parts.join(" ")
}

fn from_proto(timestamp: Option<ProtoTimestamp>) -> Option<Timestamp> {
    let ProtoTimestamp { seconds, nanos } = timestamp?;
    Timestamp::new(seconds, nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_midnight_in_utc() {
        assert_eq!(rfc3339(parse("2026-11-01").ok()), "2026-11-01T00:00:00Z");
        assert_eq!(rfc3339(parse("2026-11-01T01:00:00.5+01:00").ok()), "2026-11-01T00:00:00.5Z");
        assert_eq!(parse("1969-12-31T23:59:59.5Z").unwrap(), ProtoTimestamp { seconds: -1, nanos: 500_000_000 });
        for text in ["", "yesterday", "2026-02-30", "2026-11", "2026-11-01T12:00"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn midnight_is_displayed_as_a_date() {
        assert_eq!(display(parse("2026-11-01").ok()), "2026-11-01");
        assert_eq!(display(parse("2026-11-01T02:03:04Z").ok()), "2026-11-01 02:03:04");
        assert_eq!(display(None), "–");
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        let table = [
            (-5, "0 s"),
            (999, "0 s"),
            (59_000, "59 s"),
            (61_000, "1 min 1 s"),
            (HOUR_MS, "1 h"),
            (HOUR_MS + 59_000, "1 h"),
            (DAY_MS + 3 * HOUR_MS + MINUTE_MS, "1 day 3 h"),
            (8 * DAY_MS, "8 days"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(human_duration(milliseconds), text);
        }
    }
}
