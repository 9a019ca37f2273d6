//! What every change of a made reservation has in common: it is guarded by the very record that it changes.

use super::{
    Damaged,
    account::Account,
    hold::{self, Hold},
    id::Id,
    keys,
    reservation::{Basis, Reservation, State},
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
    /// How many overage blocks each option buys, in their order; an option beyond them buys none.
    pub(crate) blocks: Vec<i64>,
    terms: RecordRef,
    believed: Reservation,
    member: String,
}

/// What became of a change.
#[derive(Debug)]
pub enum SettlementVerdict {
    /// It is done; the reservation is as the store has it now.
    Done(Reservation),
    /// The reservation was not as believed, or could not be changed by what was believed of its account.
    Stale(Reservation),
    /// There is no such reservation.
    NotFound,
    /// There is no such team.
    TeamNotFound,
}

impl Settlement {
    /// Begins a change of a reservation that is believed to be as given.
    pub(crate) fn of(team: &Id, id: &Id, believed: &Reservation) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let reservation = transaction.record(keys::reservation(id), Read::Whole);
        let terms = transaction.record(keys::terms(), Read::Whole);
        let account = transaction.record(keys::account(believed.terms.cycle.start_ms), Read::Whole);
        let holds = hold::declare(&mut transaction);
        let run = believed.content.run_of_trigger().map(|run| transaction.record(keys::run(run), Read::Nothing));
        transaction.require(Guard::PackedEquals(reservation, believed.packed()));
        let member = believed.hold_member(id);
        Self {
            transaction,
            account,
            run,
            reservation,
            holds,
            blocks: Vec::new(),
            terms,
            believed: believed.clone(),
            member,
        }
    }

    /// The writes that put the reservation into a terminal state, kept from `settled_at` on for so long.
    pub(crate) fn settle(&self, state: &State, settled_at: Linear, retention_ms: i64) -> Vec<Write> {
        let purge_at = settled_at.clone().plus_constant(retention_ms);
        let parts = self.believed.settled_parts(state, settled_at.into());
        let mut writes = vec![Write::Put(self.reservation, parts, Some(purge_at.into()))];
        if self.believed.state == State::Open {
            writes.push(Write::IndexRemove(self.holds, self.member.clone()));
        }
        writes
    }

    /// The writes that give the whole hold back.
    pub(crate) fn give_back(&self) -> Vec<Write> {
        let credits = self.believed.terms.credits;
        if self.believed.terms.basis == Basis::RunCompletion {
            self.give_back_run_completion(credits).into_iter().collect()
        } else {
            vec![Write::Add(self.account, "held", -credits)]
        }
    }

    /// The write that gives credits back to the ceiling of the run that held them past the limit.
    pub(crate) fn give_back_run_completion(&self, credits: i64) -> Option<Write> {
        let run = self.run.filter(|_| self.believed.terms.basis == Basis::RunCompletion && credits != 0)?;
        Some(Write::AddIfPresent(run, "completion", -credits))
    }

    /// The writes that move the end of the hold.
    pub(crate) fn extend(&self, expires_at: Value) -> Vec<Write> {
        vec![
            Write::Put(self.reservation, self.believed.extended_parts(expires_at.clone()), None),
            Write::IndexPut(self.holds, self.member.clone(), expires_at),
        ]
    }

    /// Reads the verdict of a reply.
    pub fn verdict(&self, reply: &Reply) -> Result<SettlementVerdict, Damaged> {
        if self.terms(reply)?.is_none() {
            return Ok(SettlementVerdict::TeamNotFound);
        }
        let Some(reservation) = self.reservation(reply)? else { return Ok(SettlementVerdict::NotFound) };
        Ok(match reply.outcome {
            Outcome::Applied { .. } => SettlementVerdict::Done(reservation),
            Outcome::Stale { .. } | Outcome::Refused => SettlementVerdict::Stale(reservation),
        })
    }

    /// The reservation in a reply; `None` if it does not exist.
    pub fn reservation(&self, reply: &Reply) -> Result<Option<Reservation>, Damaged> {
        reply.packed(self.reservation).map(Reservation::unpack).transpose()
    }

    /// How many overage blocks the change has bought.
    pub fn blocks_bought(&self, reply: &Reply) -> i64 {
        match reply.outcome {
            Outcome::Applied { option } => self.blocks.get(option).copied().unwrap_or_default(),
            Outcome::Stale { .. } | Outcome::Refused => 0,
        }
    }

    /// The holds that run out first, in a reply that refused the change: it may have to wait for those that are due.
    pub fn holds_in_the_way(&self, reply: &Reply) -> Result<Vec<Hold>, Damaged> {
        if reply.outcome == Outcome::Refused { hold::read(reply, self.holds) } else { Ok(Vec::new()) }
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
pub fn look(team: &Id, id: &Id, believed: &Reservation) -> Settlement {
    Settlement::of(team, id, believed)
}
