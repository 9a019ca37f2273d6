//! Expiring holds that have run out: before somebody is suspended, and by the sweeper.

use super::{Gate, GateError};
use crate::{
    domain::{
        expire::{ReservationsQuery, expire, remove_orphan},
        hold::Hold,
        id::Id,
        reservation::Reservation,
    },
    transaction::Reply,
};

/// One call expires at most so many pages of due holds before it gives up.
const MAX_EXPIRY_ROUNDS: u32 = 64;

/// Counts the pages of due holds that one call has expired.
#[derive(Debug, Default)]
pub(crate) struct ExpiryRounds(u32);

impl ExpiryRounds {
    /// One more page, or the end of patience.
    pub(crate) fn next(&mut self) -> Result<(), GateError> {
        self.0 += 1;
        if self.0 <= MAX_EXPIRY_ROUNDS { Ok(()) } else { Err(GateError::Unverified) }
    }
}

impl Gate {
    /// Expires those of some holds that are due, in two store calls.
    pub(super) async fn expire_due(&self, team: &Id, holds: &[Hold], now_ms: i64) -> Result<(), GateError> {
        let due: Vec<&Hold> = holds.iter().filter(|hold| hold.is_due(now_ms)).collect();
        let mut query = ReservationsQuery::new(team, due.iter().map(|hold| &hold.reservation));
        let reply = self.transact(query.transaction.take()).await?;
        let mut found = Vec::new();
        let mut orphans = Vec::new();
        for (hold, reservation) in due.into_iter().zip(query.reservations(&reply)?) {
            match reservation {
                Some(reservation) if reservation.is_due(reply.now_ms) => {
                    found.push((hold.reservation.clone(), reservation));
                }
                Some(_) => {}
                None => orphans.push(remove_orphan(team, hold)),
            }
        }
        if !orphans.is_empty() {
            // A hold and its record change together, so this is damage from outside; it must not suspend the team.
            tracing::warn!(%team, holds = orphans.len(), "open holds without a reservation are removed");
            self.store.transact_all(orphans).await?;
        }
        self.expire(team, &found).await
    }

    /// Expires some reservations, believed to be due, in one store call. Whatever somebody else was faster with is fine.
    pub(super) async fn expire(&self, team: &Id, due: &[(Id, Reservation)]) -> Result<(), GateError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut steps: Vec<_> =
            due.iter().map(|(id, reservation)| expire(team, id, reservation, &self.policy)).collect();
        let transactions = steps.iter_mut().map(|step| step.transaction.take()).collect();
        let replies = self.store.transact_all(transactions).await?;
        for ((step, reply), (id, _)) in steps.iter().zip(replies).zip(due) {
            let reply = reply?;
            self.recent.mark_settled(team, id, step.reservation(&reply)?);
            if let Some(terms) = step.terms(&reply)? {
                self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(())
    }

    /// One reservation, as the store has it, with the reply that told.
    pub(super) async fn read_reservation(&self, team: &Id, id: &Id) -> Result<(Option<Reservation>, Reply), GateError> {
        let mut query = ReservationsQuery::new(team, [id]);
        let reply = self.transact(query.transaction.take()).await?;
        if !query.team_exists(&reply) {
            self.cache.forget(team);
            return Err(GateError::TeamNotFound);
        }
        let found = query.reservations(&reply)?.pop().flatten();
        let kept = found.filter(|reservation| !reservation.is_forgotten(reply.now_ms, &self.policy));
        Ok((kept, reply))
    }
}
