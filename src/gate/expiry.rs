//! Expires holds that have run out: before a call is suspended, and in the background.
//!
//! Several sidecars may expire the same holds. The store applies each expiry once, and the others learn from the reply.
//! This part must not know for which call a hold is expired.

use std::sync::Arc;

use super::{
    decisions::Decisions, error::GateError, held_leases::HeldLeases, recent::RecentReservations,
    store_client::StoreClient,
};
use crate::{
    domain::{
        expire::{ReservationsQuery, expire, remove_orphan},
        hold::{Hold, Holder},
        id::Id,
        lease::{MAX_LEASE_LIFETIME_MS, Reclaim, ReclaimVerdict},
        reservation::{BackedReservation, Backing},
        settlement::{Settlement, SettlementVerdict},
    },
    metrics::LeaseEvent,
    transaction::Reply,
};

/// Maximum number of reservations that are expired in one store call.
pub(crate) const PAGE_OF_DUE: usize = 64;

/// Pause before a failed expiry is tried again, in milliseconds.
const RETRY_AFTER_MS: i64 = 1_000;

/// Expires holds.
pub(crate) struct Expiry {
    store: Arc<StoreClient>,
    held: Arc<HeldLeases>,
    recent: Arc<RecentReservations>,
    decisions: Arc<Decisions>,
}

impl Expiry {
    /// Makes the part from the parts that it uses.
    pub(crate) fn new(
        store: Arc<StoreClient>,
        held: Arc<HeldLeases>,
        recent: Arc<RecentReservations>,
        decisions: Arc<Decisions>,
    ) -> Self {
        Self { store, held, recent, decisions }
    }

    /// Expires the given open holds that have run out at `now_ms` of the store, in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn expire_holds(&self, team: &Id, holds: &[Hold], now_ms: i64) -> Result<(), GateError> {
        let (mut due, mut leases) = (Vec::new(), Vec::new());
        for hold in holds.iter().filter(|hold| hold.is_due(now_ms)) {
            match &hold.holder {
                Holder::Reservation(id) => due.push((id, hold)),
                Holder::Lease(id) => leases.push((id, hold)),
            }
        }
        self.reclaim(team, &leases).await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut query = ReservationsQuery::new(team, due.iter().map(|(id, _)| *id));
        let reply = self.store.transact(query.transaction.take()).await?;
        let mut found = Vec::new();
        let mut orphans = Vec::new();
        for ((id, hold), reservation) in due.into_iter().zip(query.reservations(&reply)?) {
            match reservation {
                Some(reservation) if reservation.is_due(reply.now_ms) => found.push((id.clone(), reservation.into())),
                Some(_) => {}
                None => orphans.push(remove_orphan(team, id, hold)),
            }
        }
        if !orphans.is_empty() {
            // A hold and its record change together, so something else has damaged them. That must not suspend the
            // team.
            tracing::warn!(%team, holds = orphans.len(), "removing open holds that have no reservation");
            self.store.transact_all(orphans).await?;
        }
        self.expire(team, &found).await
    }

    /// Expires reservations that are assumed to be due. A reservation that was settled meanwhile is left unchanged. If
    /// the lease of a reservation has ended, a second store call expires that reservation.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn expire(&self, team: &Id, due: &[(Id, BackedReservation)]) -> Result<(), GateError> {
        let of_ended_leases = self.expire_as_assumed(team, due).await?;
        self.expire_as_assumed(team, &of_ended_leases).await.map(drop)
    }

    /// Expires the reservations that were opened from leases here and whose holds have run out.
    pub(crate) async fn expire_opened(&self) {
        let escrow = &self.held.escrow;
        loop {
            let due = escrow.take_due(self.store.now_ms(), PAGE_OF_DUE);
            if due.is_empty() {
                return;
            }
            for (team, reservations) in due {
                if let Err(error) = self.expire(&team, &reservations).await {
                    let again_ms = self.store.now_ms() + RETRY_AFTER_MS;
                    reservations.iter().for_each(|(id, _)| escrow.note_due(&team, id, again_ms));
                    if !error.is_store_outage() {
                        tracing::warn!(%team, %error, "reservations opened from leases could not be expired; retrying");
                    }
                }
            }
        }
    }

    /// Does the same as [`Expiry::expire`] in one store call. Returns the reservations whose leases have ended as the
    /// store has them; they are not expired yet.
    async fn expire_as_assumed(
        &self,
        team: &Id,
        due: &[(Id, BackedReservation)],
    ) -> Result<Vec<(Id, BackedReservation)>, GateError> {
        let mut of_ended_leases = Vec::new();
        if due.is_empty() {
            return Ok(of_ended_leases);
        }
        let mut steps: Vec<_> =
            due.iter().map(|(id, assumed)| expire(team, id, assumed, self.store.policy())).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        let replies = self.store.transact_all(transactions).await?;
        for ((step, reply), (id, assumed)) in steps.iter().zip(replies).zip(due) {
            let reply = reply?;
            self.decisions.settled(team, assumed, step, &reply)?;
            if assumed.backing != Backing::Record {
                let ended = self.expired_from_lease(team, id, assumed, step, &reply)?;
                of_ended_leases.extend(ended.map(|actual| (id.clone(), actual)));
            }
            self.recent.mark_settled(team, id, step.reservation(&reply)?);
            if let Some(terms) = step.terms(&reply)? {
                self.store.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(of_ended_leases)
    }

    /// Learns from a reply to the expiry of a reservation that was opened from a lease. If the lease has ended
    /// meanwhile, returns the reservation as the store has it.
    fn expired_from_lease(
        &self,
        team: &Id,
        id: &Id,
        assumed: &BackedReservation,
        step: &Settlement,
        reply: &Reply,
    ) -> Result<Option<BackedReservation>, GateError> {
        let escrow = &self.held.escrow;
        match step.verdict(reply)? {
            SettlementVerdict::Stale(actual) if actual.is_forgotten(reply.now_ms, self.store.policy()) => {
                escrow.close_reservation(team, id);
            }
            SettlementVerdict::Stale(actual) if actual.backing != Backing::Record => {
                if actual != *assumed {
                    return Ok(Some(actual));
                }
                // The store's clock is behind the estimate, so the hold has not run out yet.
                escrow.note_due(team, id, reply.now_ms + RETRY_AFTER_MS);
            }
            SettlementVerdict::Done(settled)
            | SettlementVerdict::Stale(BackedReservation { reservation: settled, .. }) => {
                // A repeat of the call gets this reservation, and not a new one from memory.
                self.recent.remember(team, id, &settled);
                escrow.close_reservation(team, id);
            }
            SettlementVerdict::NotFound | SettlementVerdict::TeamNotFound => {
                escrow.close_reservation(team, id);
            }
        }
        Ok(None)
    }

    /// Ends leases that are due, in one store call. After the clocks have jumped apart it is not known whether they are
    /// still in use; then their end is postponed by the longest life of a lease.
    async fn reclaim(&self, team: &Id, due: &[(&Id, &Hold)]) -> Result<(), GateError> {
        if due.is_empty() {
            return Ok(());
        }
        let now_ms = self.store.now_ms();
        let has_jumped = self.store.time().jumped_within_ms(MAX_LEASE_LIFETIME_MS);
        let step = |(id, hold): &(&Id, &Hold)| {
            if has_jumped {
                Reclaim::postpone(team, id, hold, MAX_LEASE_LIFETIME_MS)
            } else {
                Reclaim::new(team, id, hold, now_ms, self.store.policy())
            }
        };
        let mut steps: Vec<_> = due.iter().map(step).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        let mut orphans = Vec::new();
        for ((step, reply), (id, hold)) in steps.iter().zip(self.store.transact_all(transactions).await?).zip(due) {
            let reply = reply?;
            if step.has_come_back(&reply) {
                self.store.metrics().leases(LeaseEvent::Reclaimed, 1);
            }
            if step.verdict(&reply)? == ReclaimVerdict::NoLease {
                orphans.push(Reclaim::remove_orphan(team, id, hold));
            }
            if let Some(terms) = step.terms(&reply)? {
                self.store.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        if !orphans.is_empty() {
            // A lease and its hold change together, so something else has damaged them. That must not suspend the team.
            tracing::warn!(%team, leases = orphans.len(), "removing holds that have no lease");
            self.store.transact_all(orphans).await?;
        }
        Ok(())
    }
}
