//! Billing cycles: months that begin on a team's anchor day, in UTC.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// One billing cycle, from its start (inclusive) to its end (exclusive). Both are at midnight UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cycle {
    /// Start, in Unix milliseconds.
    pub start_ms: i64,
    /// End, in Unix milliseconds.
    pub end_ms: i64,
}

impl Cycle {
    /// Returns whether a time in Unix milliseconds is in this cycle.
    pub fn contains(&self, at_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&at_ms)
    }

    /// Returns the day it starts on as YYYY-MM-DD. Records and charges are named by it.
    pub fn name(&self) -> String {
        day_name(self.start_ms)
    }
}

/// The day of the month on which a team's cycles begin, now and before the last change. A new anchor day applies from
/// the next turn of the cycle (rule 8).
///
/// The cycle that begins at that turn ends on the first new anchor day after it. It can be shorter than a month and
/// never longer, so no team waits more than a month for new credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Day of the month, from 1 to 31. In shorter months it is the last day.
    pub day: u8,
    /// From when on `day` applies, in Unix milliseconds: the first turn after it was set. No cycle spans it.
    pub from_ms: i64,
    /// The day that applies before `from_ms`.
    pub previous_day: u8,
    /// From when on `previous_day` applied, in Unix milliseconds.
    pub previous_from_ms: i64,
}

impl Anchor {
    /// Returns an anchor that was never changed.
    pub fn new(day: u8) -> Self {
        Self { day, from_ms: 0, previous_day: day, previous_from_ms: 0 }
    }

    /// Returns the cycle at a time in Unix milliseconds. The time must not be before the cycle in which the anchor was
    /// last changed.
    pub fn cycle_at(&self, at_ms: i64) -> Cycle {
        let (day, from_ms, until_ms) = if at_ms >= self.from_ms {
            (self.day, self.from_ms, i64::MAX)
        } else {
            (self.previous_day, self.previous_from_ms, self.from_ms)
        };
        let month = month_from_anchor(day, at_ms);
        Cycle { start_ms: month.start_ms.max(from_ms), end_ms: month.end_ms.min(until_ms) }
    }

    /// Returns the anchor after a change at a time in Unix milliseconds.
    #[must_use]
    pub fn changed(self, day: u8, at_ms: i64) -> Self {
        if day == self.day {
            self
        } else if at_ms < self.from_ms {
            // The last change has not taken effect yet. This one replaces it.
            Self { day, ..self }
        } else {
            let turn_ms = self.cycle_at(at_ms).end_ms;
            Self { day, from_ms: turn_ms, previous_day: self.day, previous_from_ms: self.from_ms }
        }
    }
}

/// Returns the UTC day of a time in Unix milliseconds, as YYYY-MM-DD.
pub fn day_name(at_ms: i64) -> String {
    date(at_ms).to_string()
}

/// Returns whether a text is the name of a day exactly as [`day_name`] writes it.
pub fn is_day_name(text: &str) -> bool {
    text.parse::<Date>().is_ok_and(|day| day.to_string() == text)
}

fn month_from_anchor(day: u8, at_ms: i64) -> Cycle {
    let date = date(at_ms);
    let this_month = date.first_of_month();
    let anchor = clamped(this_month, day);
    let (start, end) = if date >= anchor {
        (anchor, clamped(this_month.saturating_add(jiff::Span::new().months(1)), day))
    } else {
        (clamped(this_month.saturating_sub(jiff::Span::new().months(1)), day), anchor)
    };
    Cycle { start_ms: midnight_ms(start), end_ms: midnight_ms(end) }
}

/// Returns that day of the month, or the month's last day if the month has fewer days.
fn clamped(first_of_month: Date, day: u8) -> Date {
    let days_after_first = i64::from(day).min(i64::from(first_of_month.days_in_month())) - 1;
    first_of_month.saturating_add(jiff::Span::new().days(days_after_first))
}

fn date(at_ms: i64) -> Date {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    TimeZone::UTC.to_datetime(at).date()
}

fn midnight_ms(date: Date) -> i64 {
    let days = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1))).map_or(0, |span| i64::from(span.get_days()));
    days * 86_400_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(day: &str) -> i64 {
        midnight_ms(day.parse().unwrap())
    }

    /// A cycle is a month from the anchor day, which is clamped to the end of shorter months.
    #[test]
    fn a_cycle_is_a_month_from_the_anchor_day() {
        let table = [
            (1, "2026-11-23", "2026-11-01", "2026-12-01"),
            (23, "2026-11-23", "2026-11-23", "2026-12-23"),
            (24, "2026-11-23", "2026-10-24", "2026-11-24"),
            (31, "2026-02-27", "2026-01-31", "2026-02-28"),
            (31, "2026-02-28", "2026-02-28", "2026-03-31"),
            (31, "2028-02-28", "2028-01-31", "2028-02-29"),
            (30, "2028-02-29", "2028-02-29", "2028-03-30"),
            (29, "2027-03-01", "2027-02-28", "2027-03-29"),
            (31, "2026-04-30", "2026-04-30", "2026-05-31"),
            (15, "2027-01-03", "2026-12-15", "2027-01-15"),
        ];
        for (day, at, start, end) in table {
            let cycle = Anchor::new(day).cycle_at(ms(at));
            assert_eq!((cycle.start_ms, cycle.end_ms), (ms(start), ms(end)), "anchor {day} at {at}");
        }
    }

    /// Cycles follow each other without a gap or an overlap for a century.
    #[test]
    fn cycles_have_no_gap_or_overlap_for_a_century() {
        for day in 1..=31 {
            let anchor = Anchor::new(day);
            let mut cycle = anchor.cycle_at(ms("2000-01-01"));
            while cycle.end_ms < ms("2100-01-01") {
                let next = anchor.cycle_at(cycle.end_ms);
                assert_eq!(next.start_ms, cycle.end_ms, "anchor {day}");
                assert_eq!(anchor.cycle_at(cycle.end_ms - 1), cycle, "anchor {day}");
                cycle = next;
            }
        }
    }

    /// A new anchor day applies from the next turn of the cycle. A second change keeps the cycle that it falls in.
    #[test]
    fn a_new_anchor_day_applies_from_the_next_turn() {
        let first = Anchor::new(15).changed(20, ms("2026-01-18"));
        assert_eq!(first.cycle_at(ms("2026-01-18")), Anchor::new(15).cycle_at(ms("2026-01-18")));
        let short = first.cycle_at(ms("2026-02-17"));
        assert_eq!((short.start_ms, short.end_ms), (ms("2026-02-15"), ms("2026-02-20")));

        let second = first.changed(25, ms("2026-02-17"));
        assert_eq!(second.cycle_at(ms("2026-02-17")), short);
        let next = second.cycle_at(ms("2026-02-20"));
        assert_eq!((next.start_ms, next.end_ms), (ms("2026-02-20"), ms("2026-02-25")));

        let replaced = first.changed(10, ms("2026-01-30"));
        assert_eq!(replaced.cycle_at(ms("2026-01-30")), first.cycle_at(ms("2026-01-30")));
        assert_eq!(replaced.cycle_at(ms("2026-02-16")).end_ms, ms("2026-03-10"));
    }
}
