//! Reservations: what was asked, what was decided, and which state they are in.

mod grant;
mod record;

pub use self::{
    grant::{MAX_GRANT_BYTES, leased_id, read_grant, read_leased, write_leased},
    record::open_parts,
};

use super::{
    billing_cycle::Cycle, hold::reservation_member, id::Id, lease::MAX_LEASE_TERM_MS, plan::Plan, policy::Policy,
};

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A block of a running flow.
    Run,
    /// A user tests a prompt.
    Test,
}

/// What covers a Proceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The allotment.
    Allotment,
    /// Blocks that overages may buy (rule 5).
    Overage,
    /// A current run past the limit (rule 3).
    RunCompletion,
}

/// What a caller asks for. A repeated call must say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// ID of the flow.
    pub flow: Id,
    /// ID of the run. Always set for [`Trigger::Run`].
    pub run: Option<Id>,
    /// ID of the block. Always set for [`Trigger::Run`].
    pub block: Option<Id>,
    /// The model's own name on the rate card, not an alias.
    pub model: Id,
    /// Number of calls or images, at least 1.
    pub units: u32,
    /// Why the call is made.
    pub trigger: Trigger,
}

/// What was decided when a reservation was made. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationTerms {
    /// Number of credits held.
    pub credits: i64,
    /// What covers them.
    pub basis: Basis,
    /// The cycle that the reservation belongs to (rule 6).
    pub cycle: Cycle,
    /// Version of the rate card that priced it.
    pub rate_card: Id,
    /// The plan that it was priced for.
    pub plan: Plan,
}

/// What a commit charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Credits charged in total.
    pub credits: i64,
    /// Number of calls or images that were really used.
    pub units: u32,
    /// The model that was really called.
    pub model: Id,
    /// Whether the hold had run out.
    pub late: bool,
}

/// The state of a reservation in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The credits are held.
    Open,
    /// The reservation was charged.
    Committed(Charged),
    /// The caller gave the credits back.
    Released,
    /// The hold ran out.
    Expired,
}

/// A reservation as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked.
    pub content: Content,
    /// What was decided.
    pub terms: ReservationTerms,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When the hold runs out, or would have run out, in Unix milliseconds.
    pub expires_at_ms: i64,
    /// Its state.
    pub state: State,
    /// When it left [`State::Open`], in Unix milliseconds.
    pub settled_at_ms: Option<i64>,
}

/// A reservation, and what accounts for its credits in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedReservation {
    /// The reservation.
    pub reservation: Reservation,
    /// What accounts for its credits.
    pub backing: Backing,
}

/// What accounts for a reservation's credits in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A record of the reservation itself.
    Record,
    /// The lease that the reservation was opened from. The reservation has no record until it is settled or extended.
    Lease {
        /// ID of the lease.
        id: Id,
        /// Whether the lease was reclaimed: its credits came back to the allotment, so the account no longer holds
        /// those of this reservation.
        reclaimed: bool,
        /// The record that another reservation with the same ID left, if there is one.
        ///
        /// It happens when a caller asks two sidecars with the same ID: both open a reservation from their own lease,
        /// and one of them expires. The one whose hold still lasts replaces that expired record when it is settled.
        replaces: Option<Box<Reservation>>,
    },
}

impl BackedReservation {
    /// Returns whether `record`, found under the same ID, is that of another reservation, which has expired while this
    /// one still holds its credits.
    ///
    /// This one was not settled before: its hold lasts, so its own record would still be there.
    pub fn supersedes(&self, record: &Reservation, now_ms: i64) -> bool {
        self.backing != Backing::Record
            && record.state == State::Expired
            && record.created_at_ms != self.reservation.created_at_ms
            && !self.reservation.is_due(now_ms)
    }

    /// Returns when the store has forgotten the ID if the reservation was never settled, in Unix milliseconds.
    ///
    /// A reservation without a record of its own may have been settled, and its record removed since. The store cannot
    /// tell any more, so from this time on the reservation is neither charged nor expired. Its credits come back with
    /// its lease. If its sidecar is alive, it has expired the reservation long before.
    ///
    /// `created_at_ms` of such a reservation is an estimate: the latest time that the store's clock can have shown. It
    /// was made while the lease could be drawn from, so it is ahead of the store's clock by less than the longest lease
    /// term. That term is subtracted here.
    pub fn forgotten_at_ms(&self, policy: &Policy) -> i64 {
        let Reservation { created_at_ms, expires_at_ms, .. } = self.reservation;
        match self.backing {
            Backing::Record => expires_at_ms + policy.unsettled_retention_ms,
            Backing::Lease { .. } => {
                created_at_ms - MAX_LEASE_TERM_MS + policy.commit_retention_ms().min(policy.unsettled_retention_ms)
            }
        }
    }

    /// Returns whether it has been due for longer than its ID is remembered.
    pub fn is_forgotten(&self, now_ms: i64, policy: &Policy) -> bool {
        self.reservation.is_due(now_ms) && self.forgotten_at_ms(policy) <= now_ms
    }
}

impl From<Reservation> for BackedReservation {
    fn from(reservation: Reservation) -> Self {
        Self { reservation, backing: Backing::Record }
    }
}

impl Content {
    /// Returns the run that the call may begin or complete. A test has none.
    pub fn run_of_trigger(&self) -> Option<&Id> {
        self.run.as_ref().filter(|_| self.trigger == Trigger::Run)
    }
}

impl Reservation {
    /// Returns whether it is open in the store although its hold has run out, so that it still has to be expired.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.state == State::Open && self.expires_at_ms <= now_ms
    }

    /// Returns the reservation as it counts at this time: a due one counts as expired, whether or not the store says so
    /// yet.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        if self.is_due(now_ms) {
            self.state = State::Expired;
            self.settled_at_ms = Some(self.expires_at_ms);
        }
        self
    }

    /// Returns whether it has been due for longer than its ID is remembered.
    pub fn is_forgotten(&self, now_ms: i64, policy: &Policy) -> bool {
        self.is_due(now_ms) && self.expires_at_ms + policy.unsettled_retention_ms <= now_ms
    }

    /// Returns the name of its entry in the index of open holds.
    pub fn hold_member(&self, id: &Id) -> String {
        self.terms.hold_member(id)
    }
}

impl ReservationTerms {
    /// Returns the name that an open reservation with these terms has in the index of open holds.
    ///
    /// Run completion holds nothing of the allotment, so 0 credits come back to it.
    pub fn hold_member(&self, id: &Id) -> String {
        let credits = if self.basis == Basis::RunCompletion { 0 } else { self.credits };
        reservation_member(id, self.cycle.start_ms, credits)
    }
}

impl Trigger {
    /// Returns the trigger's name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Test => "test",
        }
    }

    /// Returns the trigger with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Run, Self::Test].into_iter().find(|trigger| trigger.name() == name)
    }
}

impl State {
    /// Returns its name in records and in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed(_) => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

impl Basis {
    /// Returns its name in records and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allotment => "allotment",
            Self::Overage => "overage",
            Self::RunCompletion => "run_completion",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Allotment, Self::Overage, Self::RunCompletion].into_iter().find(|basis| basis.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(created_at_ms: i64, expires_at_ms: i64) -> Reservation {
        let id = |text| Id::parse(text).unwrap();
        Reservation {
            content: Content {
                flow: id("flow"),
                run: None,
                block: None,
                model: id("gpt-4"),
                units: 1,
                trigger: Trigger::Test,
            },
            terms: ReservationTerms {
                credits: 25,
                basis: Basis::Allotment,
                cycle: Cycle { start_ms: 0, end_ms: 86_400_000 },
                rate_card: id("card"),
                plan: Plan::Basic,
            },
            created_at_ms,
            expires_at_ms,
            state: State::Open,
            settled_at_ms: None,
        }
    }

    fn expired(created_at_ms: i64, expires_at_ms: i64) -> Reservation {
        opened(created_at_ms, expires_at_ms).at(i64::MAX)
    }

    /// A reservation supersedes the expired record of another one, and nothing else.
    #[test]
    fn a_live_opening_supersedes_only_an_expired_record() {
        let backing = Backing::Lease { id: Id::parse("lease").unwrap(), reclaimed: false, replaces: None };
        let held = BackedReservation { reservation: opened(2_000, 9_000), backing };
        let released = Reservation { state: State::Released, settled_at_ms: Some(5_000), ..opened(1_000, 8_000) };
        let table = [
            ("of another one that has expired", true, held.clone(), expired(1_000, 8_000), 8_999),
            ("when its own hold is over", false, held.clone(), expired(1_000, 8_000), 9_000),
            ("of another one that was released", false, held.clone(), released, 8_000),
            ("of another one that is due", false, held.clone(), opened(1_000, 8_000), 8_000),
            ("its own, though the clock was set back", false, held.clone(), expired(2_000, 9_000), 8_000),
            ("with a record of its own", false, opened(2_000, 9_000).into(), expired(1_000, 8_000), 8_000),
        ];
        for (case, supersedes, held, record, now_ms) in table {
            assert_eq!(held.supersedes(&record, now_ms), supersedes, "{case}");
        }
    }
}
