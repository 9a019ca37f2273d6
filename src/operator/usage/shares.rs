//! Sums of usage rows, by day, flow or model.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::proto::v1::UsageRow;

/// Maximum number of names in memory. Further names are summed up together, because a team can have any number of flows.
const MAX_NAMES: usize = 10_000;

/// A sum of usage rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) calls: i64,
    pub(super) units: i64,
    pub(super) credits: i64,
}

/// Sums of usage rows by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    by_name: BTreeMap<String, Counts>,
    others: Counts,
}

impl Counts {
    /// Adds a usage row.
    pub(super) fn add(&mut self, row: &UsageRow) {
        self.plus(Self { calls: row.calls, units: row.units, credits: row.credits });
    }

    fn plus(&mut self, more: Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.units = self.units.saturating_add(more.units);
        self.credits = self.credits.saturating_add(more.credits);
    }
}

impl Shares {
    /// Adds a usage row to the sum of this name.
    pub(super) fn add(&mut self, name: &str, row: &UsageRow) {
        if let Some(counts) = self.by_name.get_mut(name) {
            counts.add(row);
        } else if self.by_name.len() < MAX_NAMES {
            let mut counts = Counts::default();
            counts.add(row);
            self.by_name.insert(name.to_owned(), counts);
        } else {
            self.others.add(row);
        }
    }

    /// Returns the sums in the order of their names.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.by_name.iter().map(|(name, counts)| (name.as_str(), *counts))
    }

    /// Returns the sums with the most credits, at most `most` of them, and the sum of all others.
    pub(super) fn largest(&self, most: usize) -> (Vec<(&str, Counts)>, Counts) {
        let mut ordered: Vec<_> = self.by_name().collect();
        ordered.sort_by(|(_, one), (_, other)| other.credits.cmp(&one.credits).then(other.calls.cmp(&one.calls)));
        let mut others = self.others;
        for (_, counts) in ordered.drain(most.min(ordered.len())..) {
            others.plus(counts);
        }
        (ordered, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(credits: i64) -> UsageRow {
        UsageRow { calls: 1, units: 2, credits, ..UsageRow::default() }
    }

    #[test]
    fn the_largest_come_first_and_the_others_are_summed_up() {
        let mut shares = Shares::default();
        for (name, credits) in [("a", 1), ("b", 5), ("c", 3), ("a", 1), ("d", 0)] {
            shares.add(name, &row(credits));
        }
        let (largest, others) = shares.largest(2);
        let names: Vec<_> = largest.iter().map(|(name, counts)| (*name, counts.credits)).collect();
        assert_eq!(names, [("b", 5), ("c", 3)]);
        assert_eq!(others, Counts { calls: 3, units: 6, credits: 2 });
        assert_eq!(shares.largest(9).1, Counts::default());
    }

    #[test]
    fn names_above_the_maximum_are_summed_up() {
        let mut shares = Shares::default();
        for number in 0..MAX_NAMES + 5 {
            shares.add(&number.to_string(), &row(1));
        }
        shares.add("0", &row(1));
        assert_eq!(shares.by_name().count(), MAX_NAMES);
        assert_eq!(shares.largest(1).1.credits, i64::try_from(MAX_NAMES).unwrap() + 4);
        assert_eq!(shares.others, Counts { calls: 5, units: 10, credits: 5 });
    }
}
