//! The books of one cycle, as a bookkeeper keeps them.

use tollgate::domain::reservation::Basis;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) included: i64,
    pub(super) waived: i64,
    pub(super) blocks: i64,
    pub(super) used: i64,
    pub(super) run_completion: i64,
    pub(super) above_hold: i64,
    pub(super) held: i64,
}

#[derive(Clone, Debug)]
pub(super) struct CycleBooks {
    pub(super) books: Books,
    pub(super) overages: bool,
    pub(super) cap: Option<i64>,
}

impl CycleBooks {
    pub(super) fn allotment(&self) -> i64 {
        self.books.included + self.books.waived + 1_000 * self.books.blocks
    }

    pub(super) fn overage_bound(&self) -> i64 {
        self.cap.map_or(i64::MAX, |cap| self.books.included + self.books.waived + 1_000 * cap)
    }

    /// Buys as many blocks as the allotment needs to cover what is used.
    pub(super) fn buy(&mut self) {
        while self.books.used > self.allotment() {
            self.books.blocks += 1;
        }
    }

    /// Adds promised credits to what is used.
    pub(super) fn enter_promised(&mut self, credits: i64, basis: Basis) {
        self.books.used += credits;
        if self.books.used <= self.allotment() {
            return;
        }
        if basis == Basis::Overage || (self.overages && self.books.used <= self.overage_bound()) {
            self.buy();
        } else {
            self.books.waived += self.books.used - self.allotment();
        }
    }
}
