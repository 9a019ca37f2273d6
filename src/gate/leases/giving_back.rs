//! Gives leases back to the store.

use futures::{StreamExt as _, stream};

use super::Leases;
use crate::{
    domain::{
        extend::record,
        id::Id,
        lease::{LeaseRemainder, LeaseReturn, MAX_LEASE_LIFETIME_MS},
        reservation::BackedReservation,
    },
    gate::{
        error::GateError,
        expiry::PAGE_OF_DUE,
        held_leases::{Return, ReturnInFlight},
    },
    metrics::LeaseEvent,
    transaction::{Outcome, Transaction},
};

/// Maximum number of leases that one store call gives back.
const LEASES_PER_CALL: usize = 16;

/// Maximum number of teams whose leases are given back concurrently.
const TEAMS_AT_ONCE: usize = 16;

impl Leases {
    /// Gives leases of a team back. If the store does not answer, they wait in the queue of returning leases.
    pub(crate) async fn give_back(&self, team: &Id, remainders: Vec<LeaseRemainder>) {
        self.give_back_all(vec![(team.clone(), remainders)]).await;
    }

    /// Does the same for several teams.
    pub(crate) async fn give_back_all(&self, of_teams: Vec<(Id, Vec<LeaseRemainder>)>) {
        let until_ms = self.store.monotonic_ms() + MAX_LEASE_LIFETIME_MS;
        let start = |(team, remainders)| self.held.returning.start(Return { team, remainders, until_ms });
        self.send(of_teams.into_iter().map(start).collect()).await;
    }

    /// Gives back the leases that wait in the queue of returning leases.
    pub(crate) async fn give_back_returning(&self) {
        self.send(self.held.returning.start_all(self.store.monotonic_ms())).await;
    }

    /// Gives all leases back, so that nothing is drawn any more, and writes records of the reservations that were
    /// opened from them, so that every sidecar knows these.
    pub(crate) async fn give_everything_back(&self) {
        let escrow = &self.held.escrow;
        // Those that were in flight when the background was stopped are back in the queue.
        self.give_back_returning().await;
        self.give_back_all(escrow.remove_all_leases()).await;
        loop {
            let some = escrow.list_open(PAGE_OF_DUE);
            if some.is_empty() {
                return;
            }
            for (team, reservations) in some {
                if let Err(error) = self.record_open(&team, &reservations).await {
                    tracing::debug!(%team, %error, "open reservations could not be recorded; their grants still settle them");
                    return;
                }
            }
        }
    }

    async fn send(&self, returns: Vec<ReturnInFlight>) {
        let sending = stream::iter(returns).map(|leases| self.send_of_team(leases));
        sending.buffer_unordered(TEAMS_AT_ONCE).collect::<()>().await;
    }

    async fn send_of_team(&self, mut in_flight: ReturnInFlight) {
        let Return { team, remainders, .. } = &mut in_flight.leases;
        while !remainders.is_empty() {
            let first = remainders.len().saturating_sub(LEASES_PER_CALL);
            if let Err(error) = self.try_to_give_back(team, remainders.get(first..).unwrap_or_default()).await {
                if !error.is_store_outage() {
                    tracing::warn!(%team, %error, "leases could not be given back; retrying");
                }
                return;
            }
            remainders.truncate(first);
        }
    }

    async fn try_to_give_back(&self, team: &Id, remainders: &[LeaseRemainder]) -> Result<(), GateError> {
        let mut steps: Vec<_> = remainders.iter().map(|rest| LeaseReturn::new(team, rest)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (step, reply) in steps.iter().zip(self.store.transact_all(transactions).await?) {
            let reply = reply?;
            if matches!(reply.outcome, Outcome::Applied { .. }) {
                self.store.metrics().leases(LeaseEvent::GivenBack, 1);
            }
            if let Some(terms) = step.terms(&reply)? {
                self.store.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(())
    }

    /// Writes records of reservations that were opened from leases.
    async fn record_open(&self, team: &Id, reservations: &[(Id, BackedReservation)]) -> Result<(), GateError> {
        let mut steps: Vec<_> = reservations.iter().map(|(id, held)| record(team, id, held)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (reply, (id, _)) in self.store.transact_all(transactions).await?.into_iter().zip(reservations) {
            reply?;
            self.held.escrow.close_reservation(team, id);
        }
        Ok(())
    }
}
