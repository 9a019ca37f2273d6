//! Expiry: the credits of an abandoned reservation come back after its hold, whichever sidecar notices first (I5).

use super::{
    Damaged,
    account::{before, not_before},
    hold::Hold,
    id::Id,
    keys,
    policy::Policy,
    reservation::{BackedReservation, Backing, Basis, Reservation, State},
    settlement::Settlement,
};
use crate::transaction::{Guard, Linear, Read, RecordRef, Reply, Transaction, Write};

/// Builds the transaction that expires a reservation. It assumes that the reservation is open and due.
///
/// It counts as settled when its hold ran out, not when the store learned of it. So the answers to later calls do not
/// depend on when the sweeper ran.
pub fn expire(team: &Id, id: &Id, held: &BackedReservation, policy: &Policy) -> Settlement {
    let reservation = &held.reservation;
    let mut step = Settlement::of(team, id, held);
    step.transaction.require(not_before(reservation.expires_at_ms));
    if held.backing != Backing::Record {
        step.transaction.require(before(held.forgotten_at_ms(policy)));
    }
    let settled_at = Linear::constant(reservation.expires_at_ms);
    let writes = step.settle(&State::Expired, settled_at, policy.unsettled_retention_ms);
    let giving_back = writes.iter().cloned().chain(step.give_back()).collect();
    match step.run.filter(|_| reservation.terms.basis == Basis::RunCompletion) {
        None => {
            step.transaction.option(Vec::new(), giving_back);
        }
        Some(run) => {
            // If no sidecar swept the team for days, the run's record may be gone, and its ID may name a new run.
            let same_run = Linear::constant(-reservation.created_at_ms).plus(1, run, "started_at");
            step.transaction.option(vec![Guard::Present(run), Guard::AtMostZero(same_run)], giving_back);
            step.transaction.option(Vec::new(), writes);
        }
    }
    step
}

/// Query for several reservations of a team.
#[derive(Debug)]
pub struct ReservationsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    terms: RecordRef,
    reservations: Vec<RecordRef>,
}

impl ReservationsQuery {
    /// Builds the query.
    pub fn new<'a>(team: &Id, ids: impl IntoIterator<Item = &'a Id>) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let reservations = ids.into_iter().map(|id| transaction.record(keys::reservation(id), Read::Whole)).collect();
        Self { transaction, terms, reservations }
    }

    /// Returns whether the team exists.
    pub fn team_exists(&self, reply: &Reply) -> bool {
        reply.hash(self.terms).is_some()
    }

    /// Returns the reservations in the order of the IDs. `None` stands for those that do not exist.
    pub fn reservations(&self, reply: &Reply) -> Result<Vec<Option<Reservation>>, Damaged> {
        let read = |record: &RecordRef| reply.packed(*record).map(Reservation::unpack).transpose();
        self.reservations.iter().map(read).collect()
    }
}

/// Builds the transaction that removes a hold whose reservation does not exist.
pub fn remove_orphan(team: &Id, id: &Id, hold: &Hold) -> Transaction {
    let mut transaction = Transaction::on(keys::team(team));
    let reservation = transaction.record(keys::reservation(id), Read::Nothing);
    let holds = transaction.record(keys::open_holds(), Read::Nothing);
    transaction.require(Guard::Absent(reservation));
    transaction.option(Vec::new(), vec![Write::IndexRemove(holds, hold.member())]);
    transaction
}
