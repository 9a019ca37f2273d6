//! What is asked of the store, as the code of the rules builds it; and what a mutation leaves out of it.

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
    state::Rest,
    without::{Without, refill},
};

/// Something that is asked of the store. The same one can be carried out many times, at any time: messages are repeated, late, and
/// out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    /// Of the cycle that the sidecar believed in when it asked.
    Lease {
        lease: u8,
        cycle: u8,
    },
    LeaseReturn(Rest),
    /// By somebody who believes that the store's clock shows this.
    Reclaim {
        lease: u8,
        cycle: u8,
        credits: i64,
        believed_ms: i64,
    },
    /// By somebody who knows that it jumped.
    PutOff {
        lease: u8,
        cycle: u8,
        credits: i64,
    },
    Recall,
    Reserve {
        reservation: u8,
    },
    Settle {
        believed: Believed,
        deed: Deed,
    },
    /// Only where leases are refilled: more credits for a lease that is in hand.
    Refill {
        lease: u8,
    },
}

/// What a reservation is believed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Believed {
    /// Opened from a lease, whose credits have come back by themselves or not. If its id has the record of another opening, which has
    /// expired, that is what the record says.
    Leased { opened: Opened, reclaimed: bool, replaces: Option<Recorded> },
    /// Open, with a record of its own.
    Recorded(Recorded),
    /// Expired, as its record says.
    Expired(Recorded),
}

/// A reservation that was opened from a lease: what its grant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Opened {
    pub(super) lease: u8,
    pub(super) recorded: Recorded,
}

/// What the record of an open reservation says, or said when it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Recorded {
    pub(super) reservation: u8,
    pub(super) credits: i64,
    pub(super) cycle: u8,
    pub(super) basis: Basis,
    pub(super) created_ms: i64,
    pub(super) expires_ms: i64,
}

/// What is done to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Deed {
    Commit,
    CommitLate,
    /// More was used than is held, by a block's credits. Leases are called back before it draws on anything but the allotment, or that
    /// was tried.
    Exceed {
        waits: bool,
    },
    Release,
    Expire,
    Extend,
    /// What a sidecar that ends does: the reservation gets a record, as it is.
    Record,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A lease is granted.
    Granted { credits: i64, granted_at_ms: i64 },
    /// It is done.
    Done,
    /// It is not done: the reservation has a record.
    HasRecord,
    /// It is not done: there is the record of another opening, which has expired, and this one's hold lasts.
    Outlives,
    /// It is not done, for another reason.
    Not,
}

/// What every request of a world is built from.
#[derive(Clone, Debug)]
pub(super) struct Making {
    /// The team's terms, which never change here.
    pub(super) team: Terms,
    pub(super) slice: i64,
    pub(super) terms: LeaseTerms,
    pub(super) policy: Policy,
    pub(super) without: Option<Without>,
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

/// Terms of so many credits in a cycle that begins on that day of the month, and of at most so many blocks.
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

/// By its number: the cycle that everything begins in, or the one after it.
pub(super) fn cycle(terms: &Terms, number: u8) -> Cycle {
    let first = terms.anchor.cycle_at(START_MS);
    if number == 0 { first } else { terms.anchor.cycle_at(first.end_ms) }
}

impl Deed {
    /// What it charges above what is held.
    pub(super) fn excess(self) -> i64 {
        if matches!(self, Self::Exceed { .. }) { OVERAGE_BLOCK_CREDITS } else { 0 }
    }
}

impl Believed {
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

impl Making {
    /// Has a request carried out, and reads the reply.
    pub(super) fn ask(&self, request: Request, now_ms: i64, carry_out: impl FnOnce(Transaction) -> Reply) -> Answer {
        let team = team();
        match request {
            Request::Lease { lease, cycle } => self.lease(lease, cycle, now_ms, carry_out),
            Request::LeaseReturn(Rest { lease, cycle, credits, undrawn }) => {
                let cycle_start_ms = self.cycle(cycle).start_ms;
                let rest = LeaseRemainder { id: lease_id(lease), cycle_start_ms, credits, undrawn };
                let mut step = LeaseReturn::new(&team, &rest).transaction;
                self.leave_out(|without| without.out_of_give_back(&mut step));
                done(carry_out(step))
            }
            Request::Reclaim { lease, cycle, credits, believed_ms } => {
                let hold = self.hold(lease, cycle, credits);
                let mut step = Reclaim::new(&team, &lease_id(lease), &hold, believed_ms, &self.policy);
                self.leave_out(|without| without.out_of_reclaim(&mut step.transaction));
                ended(step, carry_out)
            }
            Request::PutOff { lease, cycle, credits } => {
                let hold = self.hold(lease, cycle, credits);
                let mut step = Reclaim::postpone(&team, &lease_id(lease), &hold, MAX_LEASE_LIFETIME_MS);
                self.leave_out(|without| without.out_of_put_off(&mut step.transaction));
                ended(step, carry_out)
            }
            Request::Recall => done(carry_out(Recall::new(&team).transaction)),
            Request::Reserve { reservation } => self.reserve(reservation, now_ms, carry_out),
            Request::Settle { believed, deed } => self.settle(believed, deed, carry_out),
            Request::Refill { lease } => done(carry_out(refill(&self.team, lease, self.slice))),
        }
    }

    pub(super) fn cycle(&self, number: u8) -> Cycle {
        cycle(&self.team, number)
    }

    /// The hold of a lease, as somebody saw it once.
    fn hold(&self, lease: u8, cycle: u8, credits: i64) -> Hold {
        let (holder, cycle_start_ms) = (Holder::Lease(lease_id(lease)), self.cycle(cycle).start_ms);
        Hold { holder, cycle_start_ms, credits, expires_at_ms: START_MS }
    }

    fn leave_out(&self, out_of: impl FnOnce(Without)) {
        if let Some(without) = self.without {
            out_of(without);
        }
    }

    fn lease(&self, lease: u8, cycle: u8, now_ms: i64, carry_out: impl FnOnce(Transaction) -> Reply) -> Answer {
        let (terms, catalogue) = (&self.team, catalogue());
        let Cycle { start_ms, end_ms } = self.cycle(cycle);
        let belief = belief(terms, &catalogue, now_ms.clamp(start_ms, end_ms - 1));
        let mut step = LeaseGrant::new(&team(), &lease_id(lease), self.slice, &belief, &self.terms);
        self.leave_out(|without| without.out_of_grant(&mut step.transaction));
        let reply = carry_out(step.transaction.take());
        match step.verdict(&reply).unwrap() {
            LeaseVerdict::Granted { credits, granted_at_ms } => Answer::Granted { credits, granted_at_ms },
            LeaseVerdict::NotNow => Answer::Not,
        }
    }

    fn reserve(&self, reservation: u8, now_ms: i64, carry_out: impl FnOnce(Transaction) -> Reply) -> Answer {
        let (team, terms, catalogue) = (team(), &self.team, catalogue());
        let (cycle, basis) = (0, Basis::Allotment);
        let recorded = Recorded { reservation, credits: 1, cycle, basis, created_ms: now_ms, expires_ms: now_ms };
        let asked = recorded.reservation(terms);
        let id = reservation_id(reservation);
        let request = ReserveRequest {
            team: &team,
            reservation: &id,
            content: &asked.content,
            hold_ms: self.terms.hold_ms,
            dry_run: false,
        };
        let price =
            Price { credits: 1, rate_card: asked.terms.rate_card.clone(), valid_ms: 0..i64::from(u32::MAX) * 1_000 };
        let mut step = Reserve::new(&request, &price, &belief(terms, &catalogue, now_ms), &self.policy);
        let reply = carry_out(step.transaction.take());
        match step.verdict(&reply, &self.policy).unwrap() {
            ReserveVerdict::Granted(_) => Answer::Done,
            ReserveVerdict::Exists(_) => Answer::HasRecord,
            _ => Answer::Not,
        }
    }

    fn settle(&self, believed: Believed, deed: Deed, carry_out: impl FnOnce(Transaction) -> Reply) -> Answer {
        let terms = &self.team;
        let expired = |recorded: &Recorded| recorded.reservation(terms).at(i64::MAX);
        let mut held = BackedReservation::from(believed.recorded().reservation(terms));
        match &believed {
            Believed::Leased { opened, reclaimed, replaces } => {
                let replaces = replaces.as_ref().map(expired).map(Box::new);
                held.backing = Backing::Lease { id: lease_id(opened.lease), reclaimed: *reclaimed, replaces };
            }
            Believed::Recorded(_) => {}
            Believed::Expired(recorded) => held.reservation = expired(recorded),
        }
        let mut step = self.settlement(&held, &reservation_id(believed.recorded().reservation), deed);
        self.leave_out(|without| without.out_of_settlement(&mut step.transaction, &held, deed));
        let reply = carry_out(step.transaction.take());
        match step.verdict(&reply).unwrap() {
            SettlementVerdict::Done(_) => Answer::Done,
            SettlementVerdict::Stale(BackedReservation { backing: Backing::Record, .. }) => Answer::HasRecord,
            SettlementVerdict::Stale(BackedReservation {
                backing: Backing::Lease { replaces: Some(_), .. }, ..
            }) => Answer::Outlives,
            _ => Answer::Not,
        }
    }

    fn settlement(&self, held: &BackedReservation, id: &Id, deed: Deed) -> Settlement {
        let (team, policy) = (team(), &self.policy);
        let hold_ms = self.terms.hold_ms;
        match deed {
            Deed::Commit | Deed::CommitLate | Deed::Exceed { .. } => {
                let credits = held.reservation.terms.credits + deed.excess();
                let model = held.reservation.content.model.clone();
                let charged = Charged { credits, units: 1, model, late: deed == Deed::CommitLate };
                let recall_leases_first = deed == Deed::Exceed { waits: true };
                commit(&team, id, held, &charged, CommitAssumptions { account: None, recall_leases_first }, policy)
            }
            Deed::Release => release(&team, id, held, policy),
            Deed::Expire => expire(&team, id, held, policy),
            Deed::Extend => extend(&team, id, held, hold_ms),
            Deed::Record => record(&team, id, held),
        }
    }
}

fn catalogue() -> Catalogue {
    Catalogue { included_credits: IncludedCredits::SHIPPED, rate_cards: Vec::new() }
}

fn belief<'a>(terms: &'a Terms, catalogue: &'a Catalogue, now_ms: i64) -> Assumptions<'a> {
    // Where there are overages, a call is offered them too.
    let remaining = terms.included_override.filter(|_| !terms.overages_enabled);
    Assumptions { terms, catalogue, account_exists: false, remaining, recall_leases_first: false, now_ms }
}

fn ended(mut step: Reclaim, carry_out: impl FnOnce(Transaction) -> Reply) -> Answer {
    let reply = carry_out(step.transaction.take());
    if step.verdict(&reply).unwrap() == ReclaimVerdict::Done { Answer::Done } else { Answer::Not }
}

fn done(reply: Reply) -> Answer {
    if matches!(reply.outcome, Outcome::Applied { .. }) { Answer::Done } else { Answer::Not }
}
