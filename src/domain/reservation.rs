//! Reservations: what they say, and which state they are in.

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
    /// Somebody tests a prompt.
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

/// What a caller asks a reservation for; a repeat has to say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The flow.
    pub flow: Id,
    /// The run; always there for [`Trigger::Run`].
    pub run: Option<Id>,
    /// The block; always there for [`Trigger::Run`].
    pub block: Option<Id>,
    /// The model's own name on the card.
    pub model: Id,
    /// Calls or images, at least 1.
    pub units: u32,
    /// Why.
    pub trigger: Trigger,
}

/// What was decided when a reservation was made. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationTerms {
    /// Credits held.
    pub credits: i64,
    /// What covers them.
    pub basis: Basis,
    /// The cycle it belongs to (rule 6).
    pub cycle: Cycle,
    /// The version of the card that priced it.
    pub rate_card: Id,
    /// The plan it was priced for.
    pub plan: Plan,
}

/// What was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// In all.
    pub credits: i64,
    /// What was really used.
    pub units: u32,
    /// What was really called.
    pub model: Id,
    /// The hold had run out.
    pub late: bool,
}

/// Where a reservation stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The credits are held.
    Open,
    /// Charged.
    Committed(Charged),
    /// Given back by the caller.
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
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// When the hold runs out, or would have, in Unix milliseconds.
    pub expires_at_ms: i64,
    /// Where it stands.
    pub state: State,
    /// When it left [`State::Open`], in Unix milliseconds.
    pub settled_at_ms: Option<i64>,
}

/// A reservation, and what stands for it in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedReservation {
    /// The reservation.
    pub reservation: Reservation,
    /// What stands for it.
    pub backing: Backing,
}

/// What stands for a reservation in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A record of its own.
    Record,
    /// The lease that it was opened from: until it is settled or extended it has no record.
    Lease {
        /// The lease.
        id: Id,
        /// Its credits have come back by themselves: what is committed now, the account no longer holds.
        reclaimed: bool,
        /// The record that stands under its id, if it has one: of another opening, from another lease, which has expired. Its caller
        /// had asked two sidecars. Whoever settles this one while its own hold lasts puts it in that one's place.
        replaces: Option<Box<Reservation>>,
    },
}

impl BackedReservation {
    /// Whether a record under its id is of another opening, which has expired, while this one still holds its credits.
    ///
    /// As its hold lasts, it was not settled before: then its own record would stand.
    pub fn supersedes(&self, record: &Reservation, now_ms: i64) -> bool {
        self.backing != Backing::Record
            && record.state == State::Expired
            && record.created_at_ms != self.reservation.created_at_ms
            && !self.reservation.is_due(now_ms)
    }

    /// From when on its id has been forgotten if nobody settled it, in Unix milliseconds.
    ///
    /// Without a record of its own, nobody knows whether it was settled once the record of that may be gone: from then on it is neither
    /// charged nor expired, and what it held comes back with its lease. Its own sidecar has long expired it by then, if that lives.
    ///
    /// It says of itself when it was made, by a sidecar that guessed the store's time: from the latest moment that this can have
    /// been, and while its lease could be drawn from, so that it is ahead by less than the longest term.
    pub fn forgotten_at_ms(&self, policy: &Policy) -> i64 {
        let Reservation { created_at_ms, expires_at_ms, .. } = self.reservation;
        match self.backing {
            Backing::Record => expires_at_ms + policy.unsettled_retention_ms,
            Backing::Lease { .. } => {
                created_at_ms - MAX_LEASE_TERM_MS + policy.commit_retention_ms().min(policy.unsettled_retention_ms)
            }
        }
    }

    /// Whether it is due for so long that its id has been forgotten.
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
    /// The run that the call may make current, or complete: a test belongs to none.
    pub fn run_of_trigger(&self) -> Option<&Id> {
        self.run.as_ref().filter(|_| self.trigger == Trigger::Run)
    }
}

impl Reservation {
    /// Whether it is open in the store and its hold has run out: nobody has expired it yet.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.state == State::Open && self.expires_at_ms <= now_ms
    }

    /// The same reservation as it stands at a time: a due one has expired, whether or not somebody wrote that down.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        if self.is_due(now_ms) {
            self.state = State::Expired;
            self.settled_at_ms = Some(self.expires_at_ms);
        }
        self
    }

    /// Whether it is due for so long that its id has been forgotten.
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
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Test => "test",
        }
    }

    /// The trigger of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Run, Self::Test].into_iter().find(|trigger| trigger.name() == name)
    }
}

impl State {
    /// Its name in records and in the log.
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
    /// Its name in records and in the log.
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

    #[test]
    fn an_opening_outlives_the_expired_record_of_another_one_and_nothing_else() {
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
