//! Leases from the store's side: taking them ahead of need, giving back what is of no use, expiring what was opened
//! from them.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};

use super::{
    Gate, GateError,
    due::PAGE_OF_DUE,
    pricing::belief,
    returning::{Return, ReturnInFlight},
};
use crate::{
    domain::{
        id::Id,
        lease::{
            Lease, LeaseGrant, LeaseRemainder, LeaseReturn, LeaseVerdict, MAX_LEASE_LIFETIME_MS, RECALL_PAUSE_MS,
            RecallsQuery, remove_announcements, size_lease,
        },
        reservation::BackedReservation,
        terms::Terms,
    },
    escrow::LeaseRequest,
    metrics::LeaseEvent,
    transaction::{Outcome, Transaction},
};

/// Between two looks at what is to be done about leases: so long it takes a sidecar to hear that one is called back.
pub(super) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Between two sendings of a request for a lease whose answer did not come.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// So many leases travel back in one call.
const GIVEN_BACK_AT_ONCE: usize = 16;

/// So many teams' leases are given back side by side.
const TEAMS_AT_ONCE: usize = 16;

/// One look gives back what is of no use of so many teams at most: recalls are not to wait for more.
const TEAMS_A_LOOK: usize = 64;

impl Gate {
    /// Takes the lease that a team should have, in the background.
    pub(super) fn take_lease_ahead(self: &Arc<Self>, team: &Id, wanted: LeaseRequest) {
        let (gate, team) = (Arc::clone(self), team.clone());
        self.errands.spawn(async move { gate.take_lease(&team, wanted).await });
    }

    /// Takes the lease that a team should have, if it can have one now.
    pub(super) async fn take_lease(&self, team: &Id, wanted: LeaseRequest) {
        match self.ask_for_lease(team, wanted).await {
            Ok(Some((lease, open_leases))) => {
                self.metrics.leases(LeaseEvent::Granted, 1);
                // If it is not settled by then, whoever sweeps the team ends it.
                let reclaim_at_ms = lease.granted_at_ms + self.escrow.options().terms.reclaim_after_ms();
                self.cache.note_due(team, reclaim_at_ms);
                if let Some(rest) = self.escrow.add_lease(team, lease, open_leases) {
                    self.give_back(team, vec![rest]).await;
                }
            }
            Ok(None) => self.no_lease(team),
            Err(error) => {
                tracing::debug!(%team, %error, "no lease could be taken");
                self.no_lease(team);
            }
        }
    }

    fn no_lease(&self, team: &Id) {
        let pause_ms = self.escrow.options().policy.retry_pause_ms;
        self.escrow.lease_not_granted(team, self.clock.monotonic_ms() + pause_ms);
    }

    /// Asks for one, by one id for as long as nobody knows what became of it.
    async fn ask_for_lease(&self, team: &Id, wanted: LeaseRequest) -> Result<Option<(Lease, usize)>, GateError> {
        let options = self.escrow.options();
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let believed = self.believed(team).await?;
        let now_ms = self.store_time.now_ms();
        let believes = belief(&believed, &catalogue, now_ms);
        let remaining =
            believes.remaining.unwrap_or_else(|| believed.terms.included(&catalogue.catalogue.included_credits));
        let LeaseRequest { credits, min_credits, open_leases } = wanted;
        let slice = size_lease(credits, options.max_lease_credits, remaining, open_leases, min_credits);
        let Some(id) = self.escrow.next_lease_id().filter(|_| slice > 0) else { return Ok(None) };
        let asked_first_ms = self.clock.monotonic_ms();
        loop {
            let mut step = LeaseGrant::new(team, &id, slice, &believes, &options.terms);
            let reply = match self.transact(step.transaction.take()).await {
                Ok(reply) => reply,
                Err(error) => {
                    let is_late = self.clock.monotonic_ms() - asked_first_ms > options.terms.term_ms / 4;
                    if is_late || !error.is_store_outage() {
                        return Err(error);
                    }
                    sleep(ASK_AGAIN).await;
                    continue;
                }
            };
            let terms = self.team_exists(team, step.terms(&reply)?)?;
            self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            let LeaseVerdict::Granted { credits, granted_at_ms } = step.verdict(&reply)? else { return Ok(None) };
            let between_ms = asked_first_ms..=self.clock.monotonic_ms();
            let version = believed.terms.version;
            let lease = Lease::granted(id, step.cycle, version, credits, granted_at_ms, between_ms, &options.terms);
            return Ok(Some((lease, step.open_leases(&reply))));
        }
    }

    /// Gives back what was taken out of hand. What the store does not answer is given back later.
    pub(super) async fn give_back(&self, team: &Id, rests: Vec<LeaseRemainder>) {
        self.give_back_all(vec![(team.clone(), rests)]).await;
    }

    /// The same of several teams.
    async fn give_back_all(&self, of_teams: Vec<(Id, Vec<LeaseRemainder>)>) {
        let until_ms = self.clock.monotonic_ms() + MAX_LEASE_LIFETIME_MS;
        let start = |(team, rests)| self.returning.start(Return { team, rests, until_ms });
        self.send_back(of_teams.into_iter().map(start).collect()).await;
    }

    async fn send_back(&self, returns: Vec<ReturnInFlight>) {
        let sending = stream::iter(returns).map(|leases| self.send_back_of_team(leases));
        sending.buffer_unordered(TEAMS_AT_ONCE).collect::<()>().await;
    }

    async fn send_back_of_team(&self, mut in_flight: ReturnInFlight) {
        let Return { team, rests, .. } = &mut in_flight.leases;
        while !rests.is_empty() {
            let first = rests.len().saturating_sub(GIVEN_BACK_AT_ONCE);
            if let Err(error) = self.try_to_give_back(team, rests.get(first..).unwrap_or_default()).await {
                if !error.is_store_outage() {
                    tracing::warn!(%team, %error, "leases could not be given back yet");
                }
                return;
            }
            rests.truncate(first);
        }
    }

    async fn try_to_give_back(&self, team: &Id, rests: &[LeaseRemainder]) -> Result<(), GateError> {
        let mut steps: Vec<_> = rests.iter().map(|rest| LeaseReturn::new(team, rest)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (step, reply) in steps.iter().zip(self.transact_all(transactions).await?) {
            let reply = reply?;
            if matches!(reply.outcome, Outcome::Applied { .. }) {
                self.metrics.leases(LeaseEvent::GivenBack, 1);
            }
            if let Some(terms) = step.terms(&reply)? {
                self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(())
    }

    /// Applies what a reply shows of a team's terms: leases that were granted under others, or are called back, are out
    /// of hand from now on, and soon given back.
    pub(super) fn apply_terms(&self, team: &Id, terms: &Terms) {
        let is_recalled = terms.no_leases_until_ms > self.store_time.now_ms();
        let recalled_at_ms = is_recalled.then(|| terms.no_leases_until_ms - RECALL_PAUSE_MS);
        let rests = self.escrow.remove_outdated_leases(team, terms.version, recalled_at_ms);
        if is_recalled {
            self.metrics.leases(LeaseEvent::Recalled, rests.len());
        }
        if !rests.is_empty() {
            let until_ms = self.clock.monotonic_ms() + MAX_LEASE_LIFETIME_MS;
            self.returning.add(Return { team: team.clone(), rests, until_ms });
        }
    }

    /// Gives back all that is in hand, for nothing is to be drawn any more, and gives what was opened from memory
    /// records of its own, so that any sidecar knows of it.
    pub async fn give_everything_back(&self) {
        // What was on its way when the background was stopped is among it.
        self.send_back(self.returning.start_all(self.clock.monotonic_ms())).await;
        self.give_back_all(self.escrow.remove_all_leases()).await;
        loop {
            let some = self.escrow.list_open(PAGE_OF_DUE);
            if some.is_empty() {
                return;
            }
            for (team, reservations) in some {
                if let Err(error) = self.record_open(&team, &reservations).await {
                    tracing::debug!(%team, %error, "what was opened from memory is left to its leases");
                    return;
                }
            }
        }
    }

    /// Looks after the leases for ever.
    pub(super) async fn look_after_leases(&self) {
        let mut looked_at_ms = 0;
        loop {
            // Early or late makes no difference, so that a wait that was broken off costs nothing.
            let _ = timeout(LOOK_EVERY, self.returning.added()).await;
            if self.escrow.is_on() {
                looked_at_ms = self.tend_leases(looked_at_ms).await;
            }
        }
    }

    /// Gives back the leases that were called back after `since_ms` of the store's time, in Unix milliseconds, and
    /// those that are of no more use. Returns the `since_ms` of the next call. The background does this every 100 ms.
    pub async fn tend_leases(&self, since_ms: i64) -> i64 {
        let mut looked_at_ms = since_ms;
        if self.escrow.has_any_lease() {
            // Somebody waits for these, so they come first.
            looked_at_ms = self.answer_recalls(since_ms).await.unwrap_or(since_ms);
        }
        if self.store_time.jumped_within_ms(LONGEST_JUMP_UNSEEN_MS) {
            let all = self.escrow.remove_all_leases();
            if !all.is_empty() {
                tracing::warn!(teams = all.len(), "the store's clock and ours jumped apart; leases are given back");
            }
            self.give_back_all(all).await;
        }
        let now_ms = self.clock.monotonic_ms();
        self.send_back(self.returning.start_all(now_ms)).await;
        self.give_back_all(self.escrow.evict_leases(now_ms, TEAMS_A_LOOK)).await;
        looked_at_ms
    }

    /// Gives back the leases of teams that were called back since a time of the store, in Unix milliseconds; its time
    /// now.
    async fn answer_recalls(&self, since_ms: i64) -> Result<i64, GateError> {
        let mut query = RecallsQuery::default();
        let reply = self.transact(query.transaction.take()).await?;
        let (recalled, old) = query.teams(&reply, since_ms)?;
        for team in recalled {
            let rests = self.escrow.recall_leases(&team, reply.now_ms);
            self.metrics.leases(LeaseEvent::Recalled, rests.len());
            self.give_back(&team, rests).await;
        }
        if !old.is_empty() {
            self.transact(remove_announcements(&old)).await?;
        }
        Ok(reply.now_ms)
    }

    /// Expires the reservations that were opened from leases here and whose holds have run out. The background does
    /// this every second.
    pub async fn expire_opened(&self) {
        loop {
            let due = self.escrow.take_due(self.store_time.now_ms(), PAGE_OF_DUE);
            if due.is_empty() {
                return;
            }
            for (team, reservations) in due {
                if let Err(error) = self.expire(&team, &reservations).await {
                    let again_ms = self.store_time.now_ms() + 1_000;
                    reservations.iter().for_each(|(id, _)| self.escrow.note_due(&team, id, again_ms));
                    if !error.is_store_outage() {
                        tracing::warn!(%team, %error, "what was opened from a lease could not be expired yet");
                    }
                }
            }
        }
    }

    /// Gives reservations that were opened from leases records of their own.
    async fn record_open(&self, team: &Id, reservations: &[(Id, BackedReservation)]) -> Result<(), GateError> {
        use crate::domain::extend::record;
        let mut steps: Vec<_> = reservations.iter().map(|(id, held)| record(team, id, held)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (reply, (id, _)) in self.transact_all(transactions).await?.into_iter().zip(reservations) {
            reply?;
            self.escrow.close_reservation(team, id);
        }
        Ok(())
    }
}

/// A jump of the clocks is looked for each [`LOOK_EVERY`], in milliseconds; this leaves room for a few that were
/// missed.
const LONGEST_JUMP_UNSEEN_MS: i64 = 1_000;
