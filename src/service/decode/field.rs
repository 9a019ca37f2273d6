//! Decodes the kinds of fields that several requests have.

use prost_types::{Duration, Timestamp};

use crate::{
    domain::id::Id,
    gate::{
        GateError,
        calls::{DEFAULT_HOLD_MS, HOLD_RANGE_MS, MAX_UNITS, Page},
    },
};

/// Number of rows of a page by default.
const DEFAULT_PAGE_SIZE: u32 = 100;

/// Maximum number of rows of a page.
const MAX_PAGE_SIZE: u32 = 1_000;

/// Range of the contract's Timestamp in Unix seconds: 0001-01-01 to 9999-12-31.
const TIMESTAMP_RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

const NANOS_RANGE: std::ops::RangeInclusive<i32> = 0..=999_999_999;

/// Decodes a field that must hold an id.
pub(super) fn id(field: &str, text: &str) -> Result<Id, GateError> {
    Id::parse(text).map_err(|problem| GateError::invalid(field, problem.to_string()))
}

/// Decodes a field that may be empty or hold an id.
pub(super) fn optional_id(field: &str, text: &str) -> Result<Option<Id>, GateError> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// Decodes the units of a reservation: 0 means 1.
pub(super) fn units(units: u32) -> Result<u32, GateError> {
    used_units(units).map(|units| units.max(1))
}

/// Decodes the units that a call really used: 0 means 0.
pub(super) fn used_units(units: u32) -> Result<u32, GateError> {
    if units <= MAX_UNITS {
        Ok(units)
    } else {
        Err(GateError::invalid("units", format!("must be at most {MAX_UNITS}")))
    }
}

/// Decodes how long to hold credits. Returns milliseconds.
pub(super) fn hold_ms(hold_for: Option<Duration>) -> Result<i64, GateError> {
    let Some(Duration { seconds, nanos }) = hold_for else { return Ok(DEFAULT_HOLD_MS) };
    let milliseconds = || {
        let whole = seconds.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))?;
        // The longest hold plus a fraction of a millisecond is too long, although its whole milliseconds are in the range.
        let longest = *HOLD_RANGE_MS.end();
        let within = HOLD_RANGE_MS.contains(&whole) && (whole < longest || nanos % 1_000_000 == 0);
        (NANOS_RANGE.contains(&nanos) && within).then_some(whole)
    };
    milliseconds().ok_or_else(|| GateError::invalid("hold_for", "must be 1 second to 1 hour"))
}

/// Decodes a timestamp. Returns Unix milliseconds.
pub(super) fn moment_ms(field: &str, moment: Timestamp) -> Result<i64, GateError> {
    let Timestamp { seconds, nanos } = moment;
    if TIMESTAMP_RANGE.contains(&seconds) && NANOS_RANGE.contains(&nanos) {
        Ok(seconds * 1_000 + i64::from(nanos / 1_000_000))
    } else {
        Err(GateError::invalid(field, "must be in the years 1 to 9999, with nanos of 0 to 999,999,999"))
    }
}

/// Decodes a page: 100 rows by default, and 1,000 if the request asks for more.
pub(in crate::service) fn page(size: u32, token: String) -> Page {
    let size = if size == 0 { DEFAULT_PAGE_SIZE } else { size.min(MAX_PAGE_SIZE) };
    Page { size, token }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hold lasts 1 second to 1 hour. The default is 2 minutes.
    #[test]
    fn a_hold_lasts_1_second_to_1_hour() {
        let duration = |seconds, nanos| Some(Duration { seconds, nanos });
        let table = [
            (None, Some(120_000)),
            (duration(1, 0), Some(1_000)),
            (duration(0, 999_999_999), None),
            (duration(3_600, 0), Some(3_600_000)),
            (duration(3_600, 1), None),
            (duration(3_599, 999_999_999), Some(3_599_999)),
            (duration(2, 500_000_000), Some(2_500)),
            (duration(0, 0), None),
            (duration(-1, 0), None),
            (duration(60, -1), None),
            (duration(60, 1_000_000_000), None),
            (duration(i64::MAX, 0), None),
            (duration(i64::MIN, i32::MIN), None),
        ];
        for (hold_for, expected) in table {
            assert_eq!(hold_ms(hold_for).ok(), expected, "{hold_for:?}");
        }
    }

    #[test]
    fn a_timestamp_is_in_the_years_1_to_9999() {
        let moment = |seconds, nanos| moment_ms("at", Timestamp { seconds, nanos }).ok();
        assert_eq!(moment(1_737_504_000, 1_999_999), Some(1_737_504_000_001));
        assert_eq!(moment(-1, 999_000_000), Some(-1));
        assert_eq!(moment(-62_135_596_800, 0), Some(-62_135_596_800_000));
        assert_eq!(moment(-62_135_596_801, 0), None);
        assert_eq!(moment(253_402_300_799, 999_999_999), Some(253_402_300_799_999));
        assert_eq!(moment(253_402_300_800, 0), None);
        assert_eq!(moment(0, -1), None);
        assert_eq!(moment(0, 1_000_000_000), None);
    }

    #[test]
    fn a_page_has_100_rows_by_default_and_at_most_1_000() {
        let sizes = [0, 1, 1_000, 1_001, u32::MAX].map(|size| page(size, String::new()).size);
        assert_eq!(sizes, [100, 1, 1_000, 1_000, 1_000]);
    }
}
