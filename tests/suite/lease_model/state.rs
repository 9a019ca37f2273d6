//! A state of the model: the memory of sidecars, the messages in flight, the answers that clients got, and the store.

use tollgate::domain::{
    lease::{CLOCK_MARGIN_MS, Draw, Lease},
    reservation::{Basis, State},
};

use super::{
    books::{Books, MAX_NUMBER},
    mutation::Mutation,
    request::{Opened, Recorded, Setup, lease_id},
};

/// Everything that determines what can happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModelState {
    /// The store's time, in Unix milliseconds.
    pub(super) now_ms: i64,
    /// How far the store's clock has jumped ahead of the sidecars' clocks, in milliseconds.
    pub(super) jumped_ms: i64,
    /// Number of the store's state in [`StoreStates`](super::store_states::StoreStates).
    pub(super) store: usize,
    /// The sidecars. Their order has no meaning.
    pub(super) sidecars: Vec<Sidecar>,
    /// The cycle of each lease that was requested. Each request may reach the store at any later time, repeatedly.
    pub(super) requested: Vec<u8>,
    /// Leases that a sidecar stopped drawing from. Each may be returned at any later time, repeatedly.
    pub(super) remainders: Vec<Remainder>,
    /// Reservations from leases whose clients got Proceed.
    pub(super) opened: Vec<Opened>,
    /// Every version that the record of an open reservation has had. A sidecar may assume that it is still the current
    /// one.
    pub(super) recorded: Vec<Recorded>,
    /// Every version that the record of an expired reservation has had, in worlds where reservations replace such
    /// records.
    pub(super) expired: Vec<Recorded>,
    /// How each reservation ended.
    pub(super) ends: [Option<End>; MAX_NUMBER as usize],
    /// Credits of all commits, per cycle.
    pub(super) charged: [i64; 2],
    pub(super) budget: Budget,
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) draws: u8,
    pub(super) crashes: u8,
    pub(super) pauses: u8,
    pub(super) records: u8,
    pub(super) recalls: u8,
    pub(super) reserves: u8,
    pub(super) refills: u8,
    pub(super) jumps: u8,
}

/// The memory of one sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sidecar {
    pub(super) pending: Option<LeaseRequest>,
    /// Held leases, oldest first.
    pub(super) held_leases: Vec<HeldLease>,
    /// What it read from its clock for a call before it was paused.
    pub(super) read_ms: Option<i64>,
    /// The reservations that it opened, one bit each.
    pub(super) open: u8,
}

/// A lease that a sidecar has requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseRequest {
    pub(super) lease: u8,
    pub(super) requested_ms: i64,
}

/// A lease that a sidecar holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HeldLease {
    pub(super) lease: u8,
    pub(super) cycle: u8,
    pub(super) credits: i64,
    pub(super) undrawn: i64,
    pub(super) granted_at_ms: i64,
    pub(super) requested_ms: i64,
    /// From when on nothing is drawn.
    pub(super) drawn_until_ms: i64,
    /// Only if leases can be refilled: more was granted, and the reply may arrive once or more often.
    pub(super) refilled: bool,
}

/// The rest of a lease that is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Remainder {
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

impl HeldLease {
    /// Returns the lease that was granted for a request.
    pub(super) fn granted(pending: LeaseRequest, cycle: u8, credits: i64, granted_at_ms: i64, setup: &Setup) -> Self {
        let LeaseRequest { lease, requested_ms } = pending;
        let new = HeldLease {
            lease,
            cycle,
            credits,
            undrawn: credits,
            granted_at_ms,
            requested_ms,
            drawn_until_ms: 0,
            refilled: false,
        };
        let drawn_until_ms = match setup.mutation {
            Some(Mutation::Deadline) => i64::MAX,
            _ => new.lease(setup).drawn_until_ms,
        };
        Self { drawn_until_ms, ..new }
    }

    fn lease(&self, setup: &Setup) -> Lease {
        let HeldLease { lease, credits, granted_at_ms, requested_ms, .. } = *self;
        let mut cycle = setup.cycle(self.cycle);
        if setup.mutation == Some(Mutation::CycleEnd) {
            cycle.end_ms = i64::MAX;
        }
        let (version, between_ms) = (setup.team.version, requested_ms..=requested_ms);
        Lease::granted(lease_id(lease), cycle, version, credits, granted_at_ms, between_ms, &setup.terms)
    }

    /// Draws one credit for a reservation, at a reading of the clock. Returns what its grant says, or `None` if nothing
    /// may be drawn.
    pub(super) fn draw(&mut self, reservation: u8, read_ms: i64, now_ms: i64, setup: &Setup) -> Option<Opened> {
        let HeldLease { lease, cycle, undrawn, drawn_until_ms, .. } = *self;
        let mut of = Lease { undrawn, drawn_until_ms, ..self.lease(setup) };
        let draw = Draw { credits: 1, terms_version: of.terms_version, valid_ms: 0..i64::MAX };
        let mut created_ms = of.draw(&draw, read_ms)?;
        if setup.mutation == Some(Mutation::OneReading) {
            created_ms += now_ms - read_ms;
        }
        self.undrawn = of.undrawn;
        let (basis, expires_ms) = (Basis::Allotment, created_ms + setup.terms.hold_ms);
        let recorded = Recorded { reservation, credits: 1, cycle, basis, created_ms, expires_ms };
        Some(Opened { lease, recorded })
    }
}

impl Remainder {
    /// Returns what is returned of a lease.
    pub(super) fn of(HeldLease { lease, cycle, credits, undrawn, .. }: HeldLease) -> Self {
        Self { lease, cycle, credits, undrawn }
    }
}

impl ModelState {
    /// Returns the time of every sidecar.
    pub(super) fn sidecar_ms(&self) -> i64 {
        self.now_ms - self.jumped_ms
    }

    /// Returns the representative of all states that have the same future.
    pub(super) fn in_order(mut self, setup: &Setup) -> Self {
        let sidecar_ms = self.sidecar_ms();
        let Self { ref mut sidecars, ref mut remainders, .. } = self;
        for sidecar in sidecars {
            // Nothing is drawn from a lease that is used up or over. It can only be returned.
            let at_ms = sidecar.read_ms.unwrap_or(sidecar_ms);
            let is_usable = |lease: &HeldLease| lease.refilled || (lease.undrawn > 0 && at_ms < lease.drawn_until_ms);
            remainders.extend(sidecar.held_leases.extract_if(.., |lease| !is_usable(lease)).map(Remainder::of));
            // The same is true of a lease that was requested long ago. How long ago makes no difference.
            if let Some(pending) = &mut sidecar.pending
                && pending.requested_ms + setup.terms.term_ms - CLOCK_MARGIN_MS <= at_ms
                && setup.mutation != Some(Mutation::Deadline)
            {
                pending.requested_ms = 0;
            }
        }
        self.sidecars.sort_unstable();
        self.opened.sort_unstable();
        self.opened.dedup();
        self.remainders.sort_unstable();
        self.remainders.dedup();
        self.recorded.sort_unstable();
        self.recorded.dedup();
        self.expired.sort_unstable();
        self.expired.dedup();
        self
    }

    /// The store has changed. From now on, sidecars may assume the reservations that are open in it, and if needed
    /// those that have expired.
    pub(super) fn observe(&mut self, books: &Books, replaces_expired: bool) {
        self.recorded.extend((0..MAX_NUMBER).filter_map(|reservation| books.recorded(reservation, &State::Open)));
        if replaces_expired {
            self.expired.extend((0..MAX_NUMBER).filter_map(|reservation| books.recorded(reservation, &State::Expired)));
        }
    }

    /// Returns the lowest number that no reservation has.
    pub(super) fn used_numbers(&self) -> u8 {
        let opened = self.opened.iter().map(|opened| opened.recorded.reservation);
        let recorded = self.recorded.iter().map(|recorded| recorded.reservation);
        opened
            .chain(recorded)
            .filter(|reservation| *reservation < MAX_NUMBER - 1)
            .map(|reservation| reservation + 1)
            .max()
            .unwrap_or(0)
    }

    /// Returns the credits of a cycle that clients were promised, that can still be committed in time, and that no
    /// record in the store accounts for. A reservation that was opened in two cycles counts in neither.
    pub(super) fn promised(&self, books: &Books, cycle: u8) -> i64 {
        let is_promised = |reservation: &u8| {
            let mut of_it = self.opened.iter().filter(|opened| opened.recorded.reservation == *reservation);
            let of_cycle = of_it.clone().all(|opened| opened.recorded.cycle == cycle);
            of_cycle && of_it.any(|opened| self.now_ms < opened.recorded.expires_ms && self.may_commit(opened, books))
        };
        i64::try_from((0..MAX_NUMBER).filter(is_promised).count()).unwrap()
    }

    /// Returns whether a reservation can be committed while its hold lasts: its ID has no record, or that of another
    /// reservation which has expired.
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
