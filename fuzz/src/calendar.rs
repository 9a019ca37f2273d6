//! The billing calendar, compared with a second implementation that steps from day to day and knows only the lengths of
//! months.
//!
//! An input is an anchor day, then steps of five bytes: how many days and which fraction of a day pass, and a new
//! anchor day or 0.

use tollgate::domain::billing_cycle::{Anchor, Cycle, day_name};

use super::input::Input;

const DAY_MS: i64 = 86_400_000;

/// Last day of an input, some 110 years after the first.
const LAST_DAY: i64 = 40_000;

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut input = Input(input);
    let first_day = anchor_day(input.byte());
    let mut anchor = Anchor::new(first_day);
    let mut walk = Walk::new(first_day);
    let mut at_ms = 0;
    while !input.is_empty() {
        at_ms += i64::from(input.u16()) * DAY_MS + i64::from(input.u16()) * DAY_MS / 65_536;
        if at_ms >= LAST_DAY * DAY_MS {
            return;
        }
        let cycle = walk.cycle_at(at_ms);
        assert_eq!(anchor.cycle_at(at_ms), cycle, "{anchor:?} at {at_ms}");
        assert_eq!(day_name(at_ms), walk.day_name(), "{at_ms}");
        let new_day = input.byte();
        if new_day > 0 {
            anchor = anchor.changed(anchor_day(new_day), at_ms);
            walk.change(anchor_day(new_day));
        }
        for at_ms in [cycle.start_ms, cycle.end_ms - 1] {
            assert_eq!(anchor.cycle_at(at_ms), cycle, "{anchor:?} at {at_ms} after a change at {at_ms}");
        }
    }
}

fn anchor_day(byte: u8) -> u8 {
    byte % 31 + 1
}

/// The days of a team, one after the other.
#[derive(Clone)]
struct Walk {
    /// Days since 1970-01-01.
    day: i64,
    year: i64,
    month: u8,
    day_of_month: u8,
    cycle_start: i64,
    anchor_day: u8,
    /// Applies from the next turn of the cycle.
    next_anchor_day: u8,
}

impl Walk {
    fn new(anchor_day: u8) -> Self {
        Self { day: 0, year: 1970, month: 1, day_of_month: 1, cycle_start: 0, anchor_day, next_anchor_day: anchor_day }
    }

    fn change(&mut self, day: u8) {
        self.next_anchor_day = day;
    }

    /// Steps to the day of a time, and from there to the end of the cycle.
    fn cycle_at(&mut self, at_ms: i64) -> Cycle {
        while (self.day + 1) * DAY_MS <= at_ms {
            self.next_day();
        }
        let mut ahead = self.clone();
        ahead.next_day();
        while ahead.cycle_start != ahead.day {
            ahead.next_day();
        }
        Cycle { start_ms: self.cycle_start * DAY_MS, end_ms: ahead.day * DAY_MS }
    }

    fn next_day(&mut self) {
        self.day += 1;
        if self.day_of_month < self.days_in_month() {
            self.day_of_month += 1;
        } else {
            self.day_of_month = 1;
            self.month = self.month % 12 + 1;
            self.year += i64::from(self.month == 1);
        }
        if self.day_of_month == self.anchor_day.min(self.days_in_month()) {
            self.cycle_start = self.day;
            self.anchor_day = self.next_anchor_day;
        }
    }

    fn days_in_month(&self) -> u8 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_name(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day_of_month)
    }
}

/// Returns the seeds.
pub fn seeds() -> Vec<Vec<u8>> {
    let step = |days: u16, new_day: u8| [&days.to_le_bytes()[..], &[0, 0x80, new_day]].concat();
    let steps = |anchor: u8, steps: &[(u16, u8)]| {
        let steps = steps.iter().flat_map(|(days, new_day)| step(*days, *new_day));
        std::iter::once(anchor).chain(steps).collect()
    };
    vec![
        steps(0, &[(0, 0), (20_000, 0), (31, 0), (365, 0)]),
        steps(30, &[(18_320, 0), (1, 0), (28, 0), (31, 0), (30, 0)]),
        steps(14, &[(20_470, 20), (3, 25), (12, 0), (27, 10), (5, 14), (60, 0)]),
        steps(28, &[(21_242, 31), (1, 28), (30, 29), (400, 1), (366, 0)]),
        steps(30, &[(11_016, 0), (1, 0), (25_600, 3), (70, 0)]),
    ]
}
