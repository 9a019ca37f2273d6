//! What Commit, Release, Extend and expiry have in common.
//!
//! Each of them changes a reservation that was read before. The transaction is guarded by the very record that it
//! changes. A reservation that was opened from a lease has no record yet: its transaction is guarded by the lease's
//! record, and subtracts the reservation's credits from it.

use super::{
    Damaged,
    account::{Account, before},
    charging::CommitEffects,
    hold::{self, Hold},
    id::Id,
    keys,
    lease::{OpenLeases, declare_open_leases, field},
    policy::Policy,
    reservation::{BackedReservation, Backing, Basis, Charged, Reservation, State},
    run,
    terms::Terms,
};
use crate::transaction::{Guard, Linear, Outcome, Read, RecordRef, Reply, Transaction, Value, Write};

/// One change of a reservation: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct Settlement {
    /// The transaction to send.
    pub transaction: Transaction,
    pub(crate) account: RecordRef,
    pub(crate) run: Option<RecordRef>,
    pub(crate) reservation: RecordRef,
    pub(crate) holds: RecordRef,
    /// Declared only if the change may have to wait for leases.
    open_leases: Option<RecordRef>,
    /// The record of the lease that the reservation was opened from. `None` if the reservation has a record of its own.
    pub(crate) lease: Option<RecordRef>,
    /// What each option of a commit adds to the account apart from *used*, in the order of the options.
    pub(crate) effects: Vec<CommitEffects>,
    terms: RecordRef,
    assumed: BackedReservation,
    member: String,
}

/// The outcome of a change.
#[derive(Debug)]
pub enum SettlementVerdict {
    /// The change was made. The reservation is as the store has it now.
    Done(Reservation),
    /// The reservation was not as assumed, or its account was not. This is the reservation as the store has it now. If
    /// it has no record yet, it is as it was assumed to be, with the current state of its lease.
    Stale(BackedReservation),
    /// The reservation does not exist.
    NotFound,
    /// The team does not exist.
    TeamNotFound,
}

impl Settlement {
    /// Begins a change of a reservation that is assumed to be as given.
    pub(crate) fn of(team: &Id, id: &Id, assumed: &BackedReservation) -> Self {
        let BackedReservation { reservation: known, backing } = assumed;
        let mut transaction = Transaction::on(keys::team(team));
        let reservation = transaction.record(keys::reservation(id), Read::Whole);
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = transaction.record(keys::account(known.terms.cycle.start_ms), Read::Whole);
        let holds = hold::declare(&mut transaction);
        let run = known.content.run_of_trigger().map(|run| transaction.record(keys::run(run), Read::Nothing));
        let lease = match backing {
            Backing::Record => {
                transaction.require(Guard::PackedEquals(reservation, known.packed()));
                None
            }
            Backing::Lease { id, reclaimed, replaces } => {
                let lease = transaction.record(keys::lease(id), Read::Whole);
                match replaces {
                    None => {
                        transaction.require(Guard::Absent(reservation));
                    }
                    Some(expired) => {
                        transaction.require(Guard::PackedEquals(reservation, expired.packed()));
                        transaction.require(before(known.expires_at_ms));
                    }
                }
                let cycle = known.terms.cycle.start_ms.to_string();
                transaction.require(Guard::FieldEquals(lease, field::CYCLE, cycle));
                let reclaimed = i64::from(*reclaimed).to_string();
                transaction.require(Guard::FieldEquals(lease, field::RECLAIMED, reclaimed));
                let rest = Linear::constant(known.terms.credits).plus(-1, lease, field::REST);
                transaction.require(Guard::AtMostZero(rest));
                Some(lease)
            }
        };
        let member = known.hold_member(id);
        Self {
            transaction,
            account,
            run,
            reservation,
            holds,
            open_leases: None,
            lease,
            effects: Vec::new(),
            terms,
            assumed: assumed.clone(),
            member,
        }
    }

    /// Declares the leases that may still be drawn from, in a change that may have to wait for them.
    pub(crate) fn declare_open_leases(&mut self) -> RecordRef {
        let index = declare_open_leases(&mut self.transaction, true);
        self.open_leases = Some(index);
        index
    }

    /// Returns the writes that put the reservation into a final state. Its record is kept for `retention_ms` from
    /// `settled_at`.
    pub(crate) fn settle(&self, state: &State, settled_at: Linear, retention_ms: i64) -> Vec<Write> {
        let known = &self.assumed.reservation;
        let purge_at = settled_at.clone().plus_constant(retention_ms);
        let parts = known.settled_parts(state, settled_at.into());
        let mut writes = vec![Write::Put(self.reservation, parts, Some(purge_at.into()))];
        match self.lease {
            Some(lease) => writes.push(Write::Add(lease, field::REST, -known.terms.credits)),
            None if known.state == State::Open => {
                writes.push(Write::IndexRemove(self.holds, self.member.clone()));
            }
            None => {}
        }
        writes
    }

    /// Returns the counter of the account that contains the credits of the hold. `None` if they came back to the
    /// allotment when the lease was reclaimed.
    pub(crate) fn held_counter(&self) -> Option<&'static str> {
        match &self.assumed.backing {
            Backing::Record => Some("held"),
            Backing::Lease { reclaimed: false, .. } => Some("leased"),
            Backing::Lease { reclaimed: true, .. } => None,
        }
    }

    /// Returns the writes that give the whole hold back.
    pub(crate) fn give_back(&self) -> Vec<Write> {
        let terms = &self.assumed.reservation.terms;
        if terms.basis == Basis::RunCompletion {
            return self.give_back_run_completion(terms.credits).into_iter().collect();
        }
        self.held_counter().map(|counter| Write::Add(self.account, counter, -terms.credits)).into_iter().collect()
    }

    /// Returns the write that counts a commit in its run.
    ///
    /// A call that was answered from a lease may be committed before its run was recorded. Then the run's record begins
    /// with this commit.
    pub(crate) fn count_in_run(&mut self, charged: &Charged, policy: &Policy) -> Option<Write> {
        let run = self.run?;
        if self.lease.is_none() || charged.late {
            return Some(Write::AddIfPresent(run, "credits", charged.credits));
        }
        let start = run::start_fields(&self.assumed.reservation.content.flow, policy);
        self.transaction.start(run, start);
        Some(Write::Add(run, "credits", charged.credits))
    }

    /// Returns the write that gives credits back to the ceiling of the run that held them past the limit.
    pub(crate) fn give_back_run_completion(&self, credits: i64) -> Option<Write> {
        let run = self.run.filter(|_| self.assumed.reservation.terms.basis == Basis::RunCompletion && credits != 0)?;
        Some(Write::AddIfPresent(run, "completion", -credits))
    }

    /// Returns the writes that move the end of the hold. A reservation that was opened from a lease gets a record of
    /// its own, and its credits move from *leased* to *held*.
    pub(crate) fn extend(&self, expires_at: Value) -> Vec<Write> {
        let known = &self.assumed.reservation;
        let mut writes = vec![
            Write::Put(self.reservation, known.extended_parts(expires_at.clone()), None),
            Write::IndexPut(self.holds, self.member.clone(), expires_at),
        ];
        if let Some(lease) = self.lease {
            let credits = known.terms.credits;
            writes.push(Write::Add(lease, field::REST, -credits));
            writes.push(Write::Add(self.account, "leased", -credits));
            writes.push(Write::Add(self.account, "held", credits));
        }
        writes
    }

    /// Reads the outcome from the reply.
    pub fn verdict(&self, reply: &Reply) -> Result<SettlementVerdict, Damaged> {
        if self.terms(reply)?.is_none() {
            return Ok(SettlementVerdict::TeamNotFound);
        }
        let Some(reservation) = self.reservation(reply)? else { return self.without_record(reply) };
        if matches!(reply.outcome, Outcome::Applied { .. }) {
            return Ok(SettlementVerdict::Done(reservation));
        }
        let supersedes = self.assumed.supersedes(&reservation, reply.now_ms);
        let on_its_lease = if supersedes { self.on_its_lease(reply, Some(&reservation))? } else { None };
        Ok(SettlementVerdict::Stale(on_its_lease.unwrap_or_else(|| reservation.into())))
    }

    /// Returns the outcome for a reservation without a record: either its lease still accounts for it, or it does not
    /// exist.
    fn without_record(&self, reply: &Reply) -> Result<SettlementVerdict, Damaged> {
        if matches!(reply.outcome, Outcome::Applied { .. }) {
            // It expired longer ago than its retention, so the settlement left no record.
            return Ok(SettlementVerdict::NotFound);
        }
        let on_its_lease = self.on_its_lease(reply, None)?;
        Ok(on_its_lease.map_or(SettlementVerdict::NotFound, SettlementVerdict::Stale))
    }

    /// Returns the reservation with the current state of its lease. `None` if the lease does not account for it any
    /// more.
    fn on_its_lease(&self, reply: &Reply, expired: Option<&Reservation>) -> Result<Option<BackedReservation>, Damaged> {
        let BackedReservation { reservation, backing: Backing::Lease { id, .. } } = &self.assumed else {
            return Ok(None);
        };
        let Some(fields) = self.lease.and_then(|lease| reply.hash(lease)) else { return Ok(None) };
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("lease", field));
        let is_covered = number(field::CYCLE)? == reservation.terms.cycle.start_ms
            && number(field::REST)? >= reservation.terms.credits;
        let reclaimed = number(field::RECLAIMED)? == 1;
        let backing = Backing::Lease { id: id.clone(), reclaimed, replaces: expired.cloned().map(Box::new) };
        Ok(is_covered.then(|| BackedReservation { reservation: reservation.clone(), backing }))
    }

    /// Returns the reservation in a reply. `None` if it has no record.
    pub fn reservation(&self, reply: &Reply) -> Result<Option<Reservation>, Damaged> {
        reply.packed(self.reservation).map(Reservation::unpack).transpose()
    }

    /// Returns what a commit added to the account apart from *used*.
    pub fn effects(&self, reply: &Reply) -> CommitEffects {
        match reply.outcome {
            Outcome::Applied { option } => self.effects.get(option).copied().unwrap_or_default(),
            Outcome::Stale { .. } | Outcome::Refused => CommitEffects::default(),
        }
    }

    /// Returns the holds that run out first, in a reply that refused the change. The change may have to wait until the
    /// due ones are expired.
    pub fn blocking_holds(&self, reply: &Reply) -> Result<Vec<Hold>, Damaged> {
        if reply.outcome == Outcome::Refused { hold::read(reply, self.holds) } else { Ok(Vec::new()) }
    }

    /// Returns the leases that may still be drawn from, in a reply that refused the change. The change may have to wait
    /// until they are returned.
    pub fn blocking_leases(&self, reply: &Reply) -> OpenLeases {
        let asked_for = self.open_leases.filter(|_| reply.outcome == Outcome::Refused);
        asked_for.map(|index| OpenLeases::read(reply, index)).unwrap_or_default()
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the account of the reservation's cycle in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}

/// Builds a transaction that only reads a reservation and its account.
pub fn read_reservation(team: &Id, id: &Id, assumed: &BackedReservation) -> Settlement {
    Settlement::of(team, id, assumed)
}
