//! A state of the model: what sidecars have in their memory, which messages there are, what clients were told, and the store.

use tollgate::domain::{
    lease::{CLOCK_MARGIN_MS, Draw, Lease},
    reservation::{Basis, State},
};

use super::{
    books::{Books, MOST},
    request::{Making, Opened, Recorded, lease_id},
    without::Without,
};

/// All that what happens next depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Moment {
    /// The time that the store has.
    pub(super) now_ms: i64,
    /// So far its clock has jumped ahead of the sidecars'.
    pub(super) jumped_ms: i64,
    /// The number of the store's state.
    pub(super) store: usize,
    /// In no order: they are alike.
    pub(super) sidecars: Vec<Sidecar>,
    /// Of which cycle each lease is that was asked for. Each request may reach the store at any time from then on, also again.
    pub(super) asked: Vec<u8>,
    /// What was taken out of hand. Each may be given back at any time from then on, also again.
    pub(super) rests: Vec<Rest>,
    /// What clients were told is open from a lease.
    pub(super) opened: Vec<Opened>,
    /// Every form that the record of an open reservation has had: what somebody may believe it still is.
    pub(super) recorded: Vec<Recorded>,
    /// Every form that the record of an expired one has had, where openings take the place of those.
    pub(super) expired: Vec<Recorded>,
    /// How each reservation ended.
    pub(super) ends: [Option<End>; MOST as usize],
    /// Credits of all commits, in each cycle.
    pub(super) charged: [i64; 2],
    pub(super) left: Left,
}

/// How often things may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) draws: u8,
    pub(super) crashes: u8,
    pub(super) pauses: u8,
    pub(super) records: u8,
    pub(super) recalls: u8,
    pub(super) reserves: u8,
    pub(super) refills: u8,
    pub(super) jumps: u8,
}

/// What one sidecar has in its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sidecar {
    pub(super) asking: Option<Asking>,
    /// The oldest first.
    pub(super) in_hand: Vec<InHand>,
    /// What it read from its clock for a call, before it was stopped.
    pub(super) read_ms: Option<i64>,
    /// The reservations that it opened: a bit each.
    pub(super) open: u8,
}

/// A lease that a sidecar waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Asking {
    pub(super) lease: u8,
    pub(super) asked_ms: i64,
}

/// A lease in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InHand {
    pub(super) lease: u8,
    pub(super) cycle: u8,
    pub(super) credits: i64,
    pub(super) undrawn: i64,
    pub(super) granted_at_ms: i64,
    pub(super) asked_ms: i64,
    /// From this time on nothing is drawn.
    pub(super) drawn_until_ms: i64,
    /// Only where leases are refilled: more was granted, and the answer may come, once or more often.
    pub(super) refilled: bool,
}

/// What is given back of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rest {
    pub(super) lease: u8,
    pub(super) cycle: u8,
    pub(super) credits: i64,
    pub(super) undrawn: i64,
}

/// How a reservation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Committed,
    Released,
    Expired,
}

impl InHand {
    /// A lease that was granted to whoever asked for it.
    pub(super) fn granted(asking: Asking, cycle: u8, credits: i64, granted_at_ms: i64, making: &Making) -> Self {
        let Asking { lease, asked_ms } = asking;
        let fresh = InHand {
            lease,
            cycle,
            credits,
            undrawn: credits,
            granted_at_ms,
            asked_ms,
            drawn_until_ms: 0,
            refilled: false,
        };
        let drawn_until_ms = match making.without {
            Some(Without::Deadline) => i64::MAX,
            _ => fresh.lease(making).drawn_until_ms,
        };
        Self { drawn_until_ms, ..fresh }
    }

    fn lease(&self, making: &Making) -> Lease {
        let InHand { lease, credits, granted_at_ms, asked_ms, .. } = *self;
        let mut cycle = making.cycle(self.cycle);
        if making.without == Some(Without::CycleEnd) {
            cycle.end_ms = i64::MAX;
        }
        let (version, between_ms) = (making.team.version, asked_ms..=asked_ms);
        Lease::granted(lease_id(lease), cycle, version, credits, granted_at_ms, between_ms, &making.terms)
    }

    /// Draws one credit for a reservation, with a reading of the clock. What its grant says; `None` if nothing may be drawn.
    pub(super) fn draw(&mut self, reservation: u8, read_ms: i64, now_ms: i64, making: &Making) -> Option<Opened> {
        let InHand { lease, cycle, undrawn, drawn_until_ms, .. } = *self;
        let mut of = Lease { undrawn, drawn_until_ms, ..self.lease(making) };
        let draw = Draw { credits: 1, terms_version: of.terms_version, valid_ms: 0..i64::MAX };
        let mut created_ms = of.draw(&draw, read_ms)?;
        if making.without == Some(Without::OneReading) {
            created_ms += now_ms - read_ms;
        }
        self.undrawn = of.undrawn;
        let (basis, expires_ms) = (Basis::Allotment, created_ms + making.terms.hold_ms);
        let recorded = Recorded { reservation, credits: 1, cycle, basis, created_ms, expires_ms };
        Some(Opened { lease, recorded })
    }
}

impl Rest {
    /// What is left of a lease that is out of hand.
    pub(super) fn of(InHand { lease, cycle, credits, undrawn, .. }: InHand) -> Self {
        Self { lease, cycle, credits, undrawn }
    }
}

impl Moment {
    /// The time that every sidecar has.
    pub(super) fn own_ms(&self) -> i64 {
        self.now_ms - self.jumped_ms
    }

    /// The one of several states that stands for all of them, as the same can follow.
    pub(super) fn in_order(mut self, making: &Making) -> Self {
        let own_ms = self.own_ms();
        let Self { ref mut sidecars, ref mut rests, .. } = self;
        for sidecar in sidecars {
            // From a lease that is used up or over nothing is drawn: at most it is given back.
            let at_ms = sidecar.read_ms.unwrap_or(own_ms);
            let is_of_use = |lease: &InHand| lease.refilled || (lease.undrawn > 0 && at_ms < lease.drawn_until_ms);
            rests.extend(sidecar.in_hand.extract_if(.., |lease| !is_of_use(lease)).map(Rest::of));
            // Of one that was asked for so long ago, too; it makes no difference how long.
            if let Some(asking) = &mut sidecar.asking
                && asking.asked_ms + making.terms.term_ms - CLOCK_MARGIN_MS <= at_ms
                && making.without != Some(Without::Deadline)
            {
                asking.asked_ms = 0;
            }
        }
        self.sidecars.sort_unstable();
        self.opened.sort_unstable();
        self.opened.dedup();
        self.rests.sort_unstable();
        self.rests.dedup();
        self.recorded.sort_unstable();
        self.recorded.dedup();
        self.expired.sort_unstable();
        self.expired.dedup();
        self
    }

    /// The store has other books: what they say is open may be believed from now on, and, where that matters, what has expired.
    pub(super) fn learn(&mut self, books: &Books, takes_places: bool) {
        self.recorded.extend((0..MOST).filter_map(|reservation| books.recorded(reservation, &State::Open)));
        if takes_places {
            self.expired.extend((0..MOST).filter_map(|reservation| books.recorded(reservation, &State::Expired)));
        }
    }

    /// How many reservations have a name.
    pub(super) fn named(&self) -> u8 {
        let opened = self.opened.iter().map(|opened| opened.recorded.reservation);
        let recorded = self.recorded.iter().map(|recorded| recorded.reservation);
        opened
            .chain(recorded)
            .filter(|reservation| *reservation < MOST - 1)
            .map(|reservation| reservation + 1)
            .max()
            .unwrap_or(0)
    }

    /// Credits of a cycle that clients were promised, that may still be committed in time, and that no record of the store has. What was
    /// opened in two cycles is of neither.
    pub(super) fn promised(&self, books: &Books, cycle: u8) -> i64 {
        let stands = |reservation: &u8| {
            let mut of_it = self.opened.iter().filter(|opened| opened.recorded.reservation == *reservation);
            let of_cycle = of_it.clone().all(|opened| opened.recorded.cycle == cycle);
            of_cycle && of_it.any(|opened| self.now_ms < opened.recorded.expires_ms && self.may_commit(opened, books))
        };
        i64::try_from((0..MOST).filter(stands).count()).unwrap()
    }

    /// Whether an opening can be committed while its hold lasts: nothing else has its id, or another opening, which has expired.
    pub(super) fn may_commit(&self, opened: &Opened, books: &Books) -> bool {
        let number = opened.recorded.reservation;
        match self.ends[usize::from(number)] {
            None => books.reservations[usize::from(number)].is_none(),
            Some(End::Expired) => books
                .recorded(number, &State::Expired)
                .is_some_and(|expired| expired.created_ms != opened.recorded.created_ms),
            Some(End::Committed | End::Released) => false,
        }
    }
}
