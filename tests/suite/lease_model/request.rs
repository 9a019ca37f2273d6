//! The requests to the store, built by the code in `domain`, with a mutation applied to them.

use tollgate::{
    domain::{
        OVERAGE_BLOCK_CREDITS,
        assumptions::Assumptions,
        billing_cycle::{Anchor, Cycle},
        catalogue::Catalogue,
        commit::{CommitAssumptions, commit},
        expire::expire,
        extend::{extend, record},
        hold::{Hold, Holder},
        id::Id,
        lease::{
            LeaseGrant, LeaseRemainder, LeaseReturn, LeaseTerms, LeaseVerdict, MAX_LEASE_LIFETIME_MS, Recall, Reclaim,
            ReclaimVerdict,
        },
        plan::{IncludedCredits, Plan},
        policy::Policy,
        release::release,
        reservation::{
            BackedReservation, Backing, Basis, Charged, Content, Reservation, ReservationTerms, State, Trigger,
        },
        reserve::{Price, Request as ReserveRequest, Reserve, ReserveVerdict},
        settlement::{Settlement, SettlementVerdict},
        terms::Terms,
    },
    transaction::{Outcome, Reply, Transaction},
};

use super::{
    START_MS,
    mutation::{Mutation, refill},
    state::Remainder,
};

/// A request to the store. It can be executed many times and at any time, because messages are repeated, delayed and
/// reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    /// For the cycle that the sidecar assumed when it sent the request.
    Lease {
        lease: u8,
        cycle: u8,
    },
    LeaseReturn(Remainder),
    /// By a sidecar that assumes this to be the store's time.
    Reclaim {
        lease: u8,
        cycle: u8,
        credits: i64,
        assumed_now_ms: i64,
    },
    /// By a sidecar that has seen the store's clock jump.
    Postpone {
        lease: u8,
        cycle: u8,
        credits: i64,
    },
    Recall,
    Reserve {
        reservation: u8,
    },
    Settle {
        assumed: Assumed,
        change: Change,
    },
    /// Only if leases can be refilled: more credits for a lease that is held.
    Refill {
        lease: u8,
    },
}

/// What a sidecar assumes about a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Assumed {
    /// It was opened from a lease, which was reclaimed or not. If its ID has the expired record of another reservation,
    /// this is that record.
    Leased { opened: Opened, reclaimed: bool, replaces: Option<Recorded> },
    /// It is open and has a record of its own.
    Recorded(Recorded),
    /// It has expired, as its record says.
    Expired(Recorded),
}

/// A reservation that was opened from a lease, as its grant describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Opened {
    pub(super) lease: u8,
    pub(super) recorded: Recorded,
}

/// The record of an open reservation, or the record that it had when it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Recorded {
    pub(super) reservation: u8,
    pub(super) credits: i64,
    pub(super) cycle: u8,
    pub(super) basis: Basis,
    pub(super) created_ms: i64,
    pub(super) expires_ms: i64,
}

/// A change of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    Commit,
    CommitLate,
    /// A commit of one block's credits more than is held. `waits` is whether leases are recalled before it uses
    /// anything but the allotment.
    Exceed {
        waits: bool,
    },
    Release,
    Expire,
    Extend,
    /// A sidecar that shuts down writes a record for the reservation.
    Record,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A lease was granted.
    Granted { credits: i64, granted_at_ms: i64 },
    /// The change was made.
    Done,
    /// No change: the reservation has a record.
    HasRecord,
    /// No change: the ID has the expired record of another reservation, while this one's hold lasts.
    Superseding,
    /// No change, for another reason.
    Refused,
}

/// What every request of a world is built from.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The team's terms. They never change.
    pub(super) team: Terms,
    pub(super) lease_credits: i64,
    pub(super) terms: LeaseTerms,
    pub(super) policy: Policy,
    pub(super) mutation: Option<Mutation>,
}

pub(super) fn lease_id(lease: u8) -> Id {
    Id::parse(&format!("lease.{lease}")).unwrap()
}

pub(super) fn reservation_id(reservation: u8) -> Id {
    Id::parse(&format!("r{reservation}")).unwrap()
}

pub(super) fn team() -> Id {
    Id::parse("team").unwrap()
}

/// Returns terms with these included credits per cycle, this anchor day, and at most this many blocks.
pub(super) fn team_terms(allotment: i64, anchor_day: u8, cap_blocks: u32) -> Terms {
    Terms {
        version: 1,
        plan: Plan::Professional,
        paid_seat: true,
        anchor: Anchor::new(anchor_day),
        included_override: Some(allotment),
        overages_enabled: cap_blocks > 0,
        overage_cap_blocks: Some(cap_blocks),
        created_at_ms: START_MS,
        updated_at_ms: START_MS,
        no_leases_until_ms: 0,
    }
}

/// Returns a cycle by its number: 0 is the first one, 1 the one after it.
pub(super) fn cycle(terms: &Terms, number: u8) -> Cycle {
    let first = terms.anchor.cycle_at(START_MS);
    if number == 0 { first } else { terms.anchor.cycle_at(first.end_ms) }
}

impl Change {
    /// Returns the credits that it charges above what is held.
    pub(super) fn excess(self) -> i64 {
        if matches!(self, Self::Exceed { .. }) { OVERAGE_BLOCK_CREDITS } else { 0 }
    }
}

impl Assumed {
    pub(super) fn recorded(&self) -> Recorded {
        match *self {
            Self::Leased { opened: Opened { recorded, .. }, .. }
            | Self::Recorded(recorded)
            | Self::Expired(recorded) => recorded,
        }
    }
}

impl Recorded {
    pub(super) fn of(number: u8, reservation: &Reservation, terms: &Terms) -> Self {
        let Reservation { terms: ReservationTerms { credits, basis, cycle, .. }, .. } = reservation;
        Self {
            reservation: number,
            credits: *credits,
            cycle: u8::from(*cycle != self::cycle(terms, 0)),
            basis: *basis,
            created_ms: reservation.created_at_ms,
            expires_ms: reservation.expires_at_ms,
        }
    }

    pub(super) fn reservation(&self, terms: &Terms) -> Reservation {
        let id = |text| Id::parse(text).unwrap();
        Reservation {
            content: Content {
                flow: id("flow"),
                run: None,
                block: None,
                model: id("model"),
                units: 1,
                trigger: Trigger::Test,
            },
            terms: ReservationTerms {
                credits: self.credits,
                basis: self.basis,
                cycle: cycle(terms, self.cycle),
                rate_card: id("card"),
                plan: terms.plan,
            },
            created_at_ms: self.created_ms,
            expires_at_ms: self.expires_ms,
            state: State::Open,
            settled_at_ms: None,
        }
    }
}

impl Setup {
    /// Executes a request with `transact` and reads the reply.
    pub(super) fn ask(&self, request: Request, now_ms: i64, transact: impl FnOnce(Transaction) -> Reply) -> Answer {
        let team = team();
        match request {
            Request::Lease { lease, cycle } => self.lease(lease, cycle, now_ms, transact),
            Request::LeaseReturn(Remainder { lease, cycle, credits, undrawn }) => {
                let cycle_start_ms = self.cycle(cycle).start_ms;
                let rest = LeaseRemainder { id: lease_id(lease), cycle_start_ms, credits, undrawn };
                let mut step = LeaseReturn::new(&team, &rest).transaction;
                self.apply_mutation(|mutation| mutation.remove_from_return(&mut step));
                done(transact(step))
            }
            Request::Reclaim { lease, cycle, credits, assumed_now_ms } => {
                let hold = self.hold(lease, cycle, credits);
                let mut step = Reclaim::new(&team, &lease_id(lease), &hold, assumed_now_ms, &self.policy);
                self.apply_mutation(|mutation| mutation.remove_from_reclaim(&mut step.transaction));
                ended(step, transact)
            }
            Request::Postpone { lease, cycle, credits } => {
                let hold = self.hold(lease, cycle, credits);
                let mut step = Reclaim::postpone(&team, &lease_id(lease), &hold, MAX_LEASE_LIFETIME_MS);
                self.apply_mutation(|mutation| mutation.remove_from_postpone(&mut step.transaction));
                ended(step, transact)
            }
            Request::Recall => done(transact(Recall::new(&team).transaction)),
            Request::Reserve { reservation } => self.reserve(reservation, now_ms, transact),
            Request::Settle { assumed, change } => self.settle(assumed, change, transact),
            Request::Refill { lease } => done(transact(refill(&self.team, lease, self.lease_credits))),
        }
    }

    pub(super) fn cycle(&self, number: u8) -> Cycle {
        cycle(&self.team, number)
    }

    /// Returns the hold of a lease as a sidecar saw it once.
    fn hold(&self, lease: u8, cycle: u8, credits: i64) -> Hold {
        let (holder, cycle_start_ms) = (Holder::Lease(lease_id(lease)), self.cycle(cycle).start_ms);
        Hold { holder, cycle_start_ms, credits, expires_at_ms: START_MS }
    }

    fn apply_mutation(&self, remove: impl FnOnce(Mutation)) {
        if let Some(mutation) = self.mutation {
            remove(mutation);
        }
    }

    fn lease(&self, lease: u8, cycle: u8, now_ms: i64, transact: impl FnOnce(Transaction) -> Reply) -> Answer {
        let (terms, catalogue) = (&self.team, catalogue());
        let Cycle { start_ms, end_ms } = self.cycle(cycle);
        let assumptions = assumptions(terms, &catalogue, now_ms.clamp(start_ms, end_ms - 1));
        let mut step = LeaseGrant::new(&team(), &lease_id(lease), self.lease_credits, &assumptions, &self.terms);
        self.apply_mutation(|mutation| mutation.remove_from_grant(&mut step.transaction));
        let reply = transact(step.transaction.take());
        match step.verdict(&reply).unwrap() {
            LeaseVerdict::Granted { credits, granted_at_ms } => Answer::Granted { credits, granted_at_ms },
            LeaseVerdict::NotNow => Answer::Refused,
        }
    }

    fn reserve(&self, reservation: u8, now_ms: i64, transact: impl FnOnce(Transaction) -> Reply) -> Answer {
        let (team, terms, catalogue) = (team(), &self.team, catalogue());
        let (cycle, basis) = (0, Basis::Allotment);
        let recorded = Recorded { reservation, credits: 1, cycle, basis, created_ms: now_ms, expires_ms: now_ms };
        let requested = recorded.reservation(terms);
        let id = reservation_id(reservation);
        let request = ReserveRequest {
            team: &team,
            reservation: &id,
            content: &requested.content,
            hold_ms: self.terms.hold_ms,
            dry_run: false,
        };
        let price = Price {
            credits: 1,
            rate_card: requested.terms.rate_card.clone(),
            valid_ms: 0..i64::from(u32::MAX) * 1_000,
        };
        let mut step = Reserve::new(&request, &price, &assumptions(terms, &catalogue, now_ms), &self.policy);
        let reply = transact(step.transaction.take());
        match step.verdict(&reply, &self.policy).unwrap() {
            ReserveVerdict::Granted(_) => Answer::Done,
            ReserveVerdict::Exists(_) => Answer::HasRecord,
            _ => Answer::Refused,
        }
    }

    fn settle(&self, assumed: Assumed, change: Change, transact: impl FnOnce(Transaction) -> Reply) -> Answer {
        let terms = &self.team;
        let expired = |recorded: &Recorded| recorded.reservation(terms).at(i64::MAX);
        let mut held = BackedReservation::from(assumed.recorded().reservation(terms));
        match &assumed {
            Assumed::Leased { opened, reclaimed, replaces } => {
                let replaces = replaces.as_ref().map(expired).map(Box::new);
                held.backing = Backing::Lease { id: lease_id(opened.lease), reclaimed: *reclaimed, replaces };
            }
            Assumed::Recorded(_) => {}
            Assumed::Expired(recorded) => held.reservation = expired(recorded),
        }
        let mut step = self.settlement(&held, &reservation_id(assumed.recorded().reservation), change);
        self.apply_mutation(|mutation| mutation.remove_from_settlement(&mut step.transaction, &held, change));
        let reply = transact(step.transaction.take());
        match step.verdict(&reply).unwrap() {
            SettlementVerdict::Done(_) => Answer::Done,
            SettlementVerdict::Stale(BackedReservation { backing: Backing::Record, .. }) => Answer::HasRecord,
            SettlementVerdict::Stale(BackedReservation {
                backing: Backing::Lease { replaces: Some(_), .. }, ..
            }) => Answer::Superseding,
            _ => Answer::Refused,
        }
    }

    fn settlement(&self, held: &BackedReservation, id: &Id, change: Change) -> Settlement {
        let (team, policy) = (team(), &self.policy);
        let hold_ms = self.terms.hold_ms;
        match change {
            Change::Commit | Change::CommitLate | Change::Exceed { .. } => {
                let credits = held.reservation.terms.credits + change.excess();
                let model = held.reservation.content.model.clone();
                let charged = Charged { credits, units: 1, model, late: change == Change::CommitLate };
                let recall_leases_first = change == Change::Exceed { waits: true };
                commit(&team, id, held, &charged, CommitAssumptions { account: None, recall_leases_first }, policy)
            }
            Change::Release => release(&team, id, held, policy),
            Change::Expire => expire(&team, id, held, policy),
            Change::Extend => extend(&team, id, held, hold_ms),
            Change::Record => record(&team, id, held),
        }
    }
}

fn catalogue() -> Catalogue {
    Catalogue { included_credits: IncludedCredits::SHIPPED, rate_cards: Vec::new() }
}

fn assumptions<'a>(terms: &'a Terms, catalogue: &'a Catalogue, now_ms: i64) -> Assumptions<'a> {
    // If overages are on, the transaction must have their option.
    let remaining = terms.included_override.filter(|_| !terms.overages_enabled);
    Assumptions { terms, catalogue, account_exists: false, remaining, recall_leases_first: false, now_ms }
}

fn ended(mut step: Reclaim, transact: impl FnOnce(Transaction) -> Reply) -> Answer {
    let reply = transact(step.transaction.take());
    if step.verdict(&reply).unwrap() == ReclaimVerdict::Done { Answer::Done } else { Answer::Refused }
}

fn done(reply: Reply) -> Answer {
    if matches!(reply.outcome, Outcome::Applied { .. }) { Answer::Done } else { Answer::Refused }
}
