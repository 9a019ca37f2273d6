//! Expiring holds that have run out: before somebody is suspended, and by the sweeper.

use super::{Gate, GateError};
use crate::{
    domain::{
        expire::{ReservationsQuery, expire, remove_orphan},
        hold::{Hold, Holder},
        id::Id,
        lease::{MAX_LEASE_LIFETIME_MS, Reclaim, ReclaimVerdict},
        reservation::{BackedReservation, Backing, Reservation},
        settlement::{Settlement, SettlementVerdict},
    },
    metrics::LeaseEvent,
    transaction::Reply,
};

/// What is due is expired so much at a time.
pub(super) const PAGE_OF_DUE: usize = 64;

impl Gate {
    /// Expires those of some holds that are due, in two store calls.
    pub(super) async fn expire_due(&self, team: &Id, holds: &[Hold], now_ms: i64) -> Result<(), GateError> {
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
        let reply = self.transact(query.transaction.take()).await?;
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
            // A hold and its record change together, so this is damage from outside; it must not suspend the team.
            tracing::warn!(%team, holds = orphans.len(), "open holds without a reservation are removed");
            self.store.transact_all(orphans).await?;
        }
        self.expire(team, &found).await
    }

    /// Expires some reservations, believed to be due, in one store call. Whatever somebody else was faster with is
    /// fine. If it was the end of a lease, what was opened from it is expired in a second call.
    pub(super) async fn expire(&self, team: &Id, due: &[(Id, BackedReservation)]) -> Result<(), GateError> {
        let of_ended_leases = self.expire_as_believed(team, due).await?;
        self.expire_as_believed(team, &of_ended_leases).await.map(drop)
    }

    /// Those whose lease turned out to have ended are left, as the store has them.
    async fn expire_as_believed(
        &self,
        team: &Id,
        due: &[(Id, BackedReservation)],
    ) -> Result<Vec<(Id, BackedReservation)>, GateError> {
        let mut of_ended_leases = Vec::new();
        if due.is_empty() {
            return Ok(of_ended_leases);
        }
        let mut steps: Vec<_> = due.iter().map(|(id, held)| expire(team, id, held, &self.policy)).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        let replies = self.transact_all(transactions).await?;
        for ((step, reply), (id, held)) in steps.iter().zip(replies).zip(due) {
            let reply = reply?;
            self.count_settled(team, held, step, &reply)?;
            if held.backing != Backing::Record {
                let ended = self.expired_from_lease(team, id, held, step, &reply)?;
                of_ended_leases.extend(ended.map(|held| (id.clone(), held)));
            }
            self.recent.mark_settled(team, id, step.reservation(&reply)?);
            if let Some(terms) = step.terms(&reply)? {
                self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(of_ended_leases)
    }

    /// Ends leases that are due, in one store call. After the clocks have jumped apart nobody knows whether they are in
    /// use: then that is put off.
    async fn reclaim(&self, team: &Id, due: &[(&Id, &Hold)]) -> Result<(), GateError> {
        if due.is_empty() {
            return Ok(());
        }
        let now_ms = self.store_time.now_ms();
        let is_certain = !self.store_time.jumped_within_ms(MAX_LEASE_LIFETIME_MS);
        let step = |(id, hold): &(&Id, &Hold)| {
            if is_certain {
                Reclaim::new(team, id, hold, now_ms, &self.policy)
            } else {
                Reclaim::postpone(team, id, hold, MAX_LEASE_LIFETIME_MS)
            }
        };
        let mut steps: Vec<_> = due.iter().map(step).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        let mut orphans = Vec::new();
        for ((step, reply), (id, hold)) in steps.iter().zip(self.transact_all(transactions).await?).zip(due) {
            let reply = reply?;
            if step.has_come_back(&reply) {
                self.metrics.leases(LeaseEvent::Reclaimed, 1);
            }
            if step.verdict(&reply)? == ReclaimVerdict::NoLease {
                orphans.push(Reclaim::remove_orphan(team, id, hold));
            }
            if let Some(terms) = step.terms(&reply)? {
                self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        if !orphans.is_empty() {
            // A lease and its hold change together, so this is damage from outside; it must not suspend the team.
            tracing::warn!(%team, leases = orphans.len(), "holds without a lease are removed");
            self.transact_all(orphans).await?;
        }
        Ok(())
    }

    /// What was opened from a lease has expired, or turned out to be settled by somebody else; or it is not done yet.
    /// If its lease has ended meanwhile, it is returned as the store has it.
    fn expired_from_lease(
        &self,
        team: &Id,
        id: &Id,
        believed: &BackedReservation,
        step: &Settlement,
        reply: &Reply,
    ) -> Result<Option<BackedReservation>, GateError> {
        match step.verdict(reply)? {
            SettlementVerdict::Stale(held) if held.is_forgotten(reply.now_ms, &self.policy) => {
                self.escrow.close_reservation(team, id);
            }
            SettlementVerdict::Stale(held) if held.backing != Backing::Record => {
                if held != *believed {
                    return Ok(Some(held));
                }
                // The store's clock is behind our guess.
                self.escrow.note_due(team, id, reply.now_ms + 1_000);
            }
            SettlementVerdict::Done(settled)
            | SettlementVerdict::Stale(BackedReservation { reservation: settled, .. }) => {
                // A repeat of the call is to be answered with this, and not from memory as a new one.
                self.recent.remember(team, id, &settled);
                self.escrow.close_reservation(team, id);
            }
            SettlementVerdict::NotFound | SettlementVerdict::TeamNotFound => {
                self.escrow.close_reservation(team, id);
            }
        }
        Ok(None)
    }

    /// One reservation, as the store has it, with the reply that told.
    pub(super) async fn read_reservation(&self, team: &Id, id: &Id) -> Result<(Option<Reservation>, Reply), GateError> {
        let mut query = ReservationsQuery::new(team, [id]);
        let reply = self.transact(query.transaction.take()).await?;
        if !query.team_exists(&reply) {
            self.cache.remove(team);
            return Err(GateError::TeamNotFound);
        }
        let found = query.reservations(&reply)?.pop().flatten();
        let kept = found.filter(|reservation| !reservation.is_forgotten(reply.now_ms, &self.policy));
        Ok((kept, reply))
    }
}
