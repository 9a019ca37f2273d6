//! What every change of a made reservation has in common: it is guarded by the very record that it changes; or, if the
//! reservation was opened from a lease and has no record yet, by the lease's record, which it shrinks.

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

/// The transaction of one change of a reservation, and how to read the reply.
#[derive(Debug)]
pub struct Settlement {
    /// What to send.
    pub transaction: Transaction,
    pub(crate) account: RecordRef,
    pub(crate) run: Option<RecordRef>,
    pub(crate) reservation: RecordRef,
    pub(crate) holds: RecordRef,
    /// Asked for where the change may have to wait for them.
    open_leases: Option<RecordRef>,
    /// The record of the lease that the reservation was opened from, unless it has a record of its own.
    pub(crate) lease: Option<RecordRef>,
    /// What each option of a commit enters into the account, in their order.
    pub(crate) effects: Vec<CommitEffects>,
    terms: RecordRef,
    believed: BackedReservation,
    member: String,
}

/// What became of a change.
#[derive(Debug)]
pub enum SettlementVerdict {
    /// It is done; the reservation is as the store has it now.
    Done(Reservation),
    /// The reservation was not as believed, or could not be changed by what was believed of its account. It is as the store has it
    /// now, or, if it has no record yet, as it was believed, on its lease as it stands.
    Stale(BackedReservation),
    /// There is no such reservation.
    NotFound,
    /// There is no such team.
    TeamNotFound,
}

impl Settlement {
    /// Begins a change of a reservation that is believed to be as given.
    pub(crate) fn of(team: &Id, id: &Id, believed: &BackedReservation) -> Self {
        let BackedReservation { reservation: known, backing } = believed;
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
            believed: believed.clone(),
            member,
        }
    }

    /// Declares the leases that may still be drawn from, in a change that may have to wait for them.
    pub(crate) fn declare_open_leases(&mut self) -> RecordRef {
        let index = declare_open_leases(&mut self.transaction, true);
        self.open_leases = Some(index);
        index
    }

    /// The writes that put the reservation into a terminal state, kept from `settled_at` on for so long.
    pub(crate) fn settle(&self, state: &State, settled_at: Linear, retention_ms: i64) -> Vec<Write> {
        let known = &self.believed.reservation;
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

    /// The counter of the account that has the credits which the reservation holds; `None` if they came back already, with the lease
    /// that it was opened from.
    pub(crate) fn held_counter(&self) -> Option<&'static str> {
        match &self.believed.backing {
            Backing::Record => Some("held"),
            Backing::Lease { reclaimed: false, .. } => Some("leased"),
            Backing::Lease { reclaimed: true, .. } => None,
        }
    }

    /// The writes that give the whole hold back.
    pub(crate) fn give_back(&self) -> Vec<Write> {
        let terms = &self.believed.reservation.terms;
        if terms.basis == Basis::RunCompletion {
            return self.give_back_run_completion(terms.credits).into_iter().collect();
        }
        self.held_counter().map(|counter| Write::Add(self.account, counter, -terms.credits)).into_iter().collect()
    }

    /// The write that counts a commit in its run. A call that was answered from memory may be committed before its run was recorded,
    /// which starts with it then.
    pub(crate) fn count_in_run(&mut self, charged: &Charged, policy: &Policy) -> Option<Write> {
        let run = self.run?;
        if self.lease.is_none() || charged.late {
            return Some(Write::AddIfPresent(run, "credits", charged.credits));
        }
        let start = run::start_fields(&self.believed.reservation.content.flow, policy);
        self.transaction.start(run, start);
        Some(Write::Add(run, "credits", charged.credits))
    }

    /// The write that gives credits back to the ceiling of the run that held them past the limit.
    pub(crate) fn give_back_run_completion(&self, credits: i64) -> Option<Write> {
        let run = self.run.filter(|_| self.believed.reservation.terms.basis == Basis::RunCompletion && credits != 0)?;
        Some(Write::AddIfPresent(run, "completion", -credits))
    }

    /// The writes that move the end of the hold. One that was opened from a lease becomes an ordinary one, with a record of its own.
    pub(crate) fn extend(&self, expires_at: Value) -> Vec<Write> {
        let known = &self.believed.reservation;
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

    /// Reads the verdict of a reply.
    pub fn verdict(&self, reply: &Reply) -> Result<SettlementVerdict, Damaged> {
        if self.terms(reply)?.is_none() {
            return Ok(SettlementVerdict::TeamNotFound);
        }
        let Some(reservation) = self.reservation(reply)? else { return self.without_record(reply) };
        if matches!(reply.outcome, Outcome::Applied { .. }) {
            return Ok(SettlementVerdict::Done(reservation));
        }
        let supersedes = self.believed.supersedes(&reservation, reply.now_ms);
        let on_its_lease = if supersedes { self.on_its_lease(reply, Some(&reservation))? } else { None };
        Ok(SettlementVerdict::Stale(on_its_lease.unwrap_or_else(|| reservation.into())))
    }

    /// The reservation has no record: either its lease still stands for it, or there is no such reservation.
    fn without_record(&self, reply: &Reply) -> Result<SettlementVerdict, Damaged> {
        if matches!(reply.outcome, Outcome::Applied { .. }) {
            // It is settled, as of a time so long ago that it was forgotten at once.
            return Ok(SettlementVerdict::NotFound);
        }
        let on_its_lease = self.on_its_lease(reply, None)?;
        Ok(on_its_lease.map_or(SettlementVerdict::NotFound, SettlementVerdict::Stale))
    }

    /// The reservation as its lease stands for it, if it does.
    fn on_its_lease(&self, reply: &Reply, expired: Option<&Reservation>) -> Result<Option<BackedReservation>, Damaged> {
        let BackedReservation { reservation, backing: Backing::Lease { id, .. } } = &self.believed else {
            return Ok(None);
        };
        let Some(fields) = self.lease.and_then(|lease| reply.hash(lease)) else { return Ok(None) };
        let number = |field| fields.number(field).ok_or_else(|| Damaged::new("lease", field));
        let stands = number(field::CYCLE)? == reservation.terms.cycle.start_ms
            && number(field::REST)? >= reservation.terms.credits;
        let reclaimed = number(field::RECLAIMED)? == 1;
        let backing = Backing::Lease { id: id.clone(), reclaimed, replaces: expired.cloned().map(Box::new) };
        Ok(stands.then(|| BackedReservation { reservation: reservation.clone(), backing }))
    }

    /// The reservation in a reply; `None` if it does not exist.
    pub fn reservation(&self, reply: &Reply) -> Result<Option<Reservation>, Damaged> {
        reply.packed(self.reservation).map(Reservation::unpack).transpose()
    }

    /// What a commit has effects into the account apart from *used*.
    pub fn effects(&self, reply: &Reply) -> CommitEffects {
        match reply.outcome {
            Outcome::Applied { option } => self.effects.get(option).copied().unwrap_or_default(),
            Outcome::Stale { .. } | Outcome::Refused => CommitEffects::default(),
        }
    }

    /// The holds that run out first, in a reply that refused the change: it may have to wait for those that are due.
    pub fn blocking_holds(&self, reply: &Reply) -> Result<Vec<Hold>, Damaged> {
        if reply.outcome == Outcome::Refused { hold::read(reply, self.holds) } else { Ok(Vec::new()) }
    }

    /// The leases that may still be drawn from, in a reply that refused the change: it may have to wait for them.
    pub fn blocking_leases(&self, reply: &Reply) -> OpenLeases {
        let asked_for = self.open_leases.filter(|_| reply.outcome == Outcome::Refused);
        asked_for.map(|index| OpenLeases::read(reply, index)).unwrap_or_default()
    }

    /// The team's terms in a reply; `None` if there is no such team.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// The account of that cycle in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        reply.hash(self.account).map(Account::from_fields).transpose()
    }
}

/// A transaction that changes nothing: it reads a reservation with its account, as they are believed to be.
pub fn read_reservation(team: &Id, id: &Id, believed: &BackedReservation) -> Settlement {
    Settlement::of(team, id, believed)
}
