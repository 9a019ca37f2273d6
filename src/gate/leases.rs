//! Leases from the store's side: taking them ahead of need, giving back what is of no use, expiring what was opened from them.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Gate, GateError, due::PAGE_OF_DUE, reserve::belief, sweep::is_known};
use crate::{
    domain::{
        id::Id,
        lease::{
            GiveBack, Lease, LeaseGrant, LeaseRest, LeaseVerdict, RecallsQuery, STRICT_MS, forget_announced,
            slice_credits,
        },
        reservation::Held,
        terms::Terms,
    },
    escrow::{EscrowMode, LONGEST_LEASE_MS, Wanted},
    transaction::Transaction,
};

/// Between two looks at what is to be done about leases: so long it takes a sidecar to hear that one is called back.
pub(super) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// A team that could have no lease is written through for so long before another one is asked for, in milliseconds.
const NOT_GRANTED_PAUSE_MS: i64 = 250;

/// Between two sendings of a request for a lease whose answer did not come.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// So many leases travel back in one call.
const GIVEN_BACK_AT_ONCE: usize = 16;

/// So many teams' leases are given back side by side.
const TEAMS_AT_ONCE: usize = 16;

/// One look gives back what is of no use of so many teams at most: recalls are not to wait for more.
const TEAMS_A_LOOK: usize = 64;

/// Leases that are out of hand, and not yet given back. As many as could not be told to the store while it was away.
#[derive(Debug, Default)]
pub(crate) struct OutOfHand {
    leases: Mutex<Vec<Returning>>,
    /// Wakes whoever gives them back.
    added: Notify,
}

#[derive(Debug)]
struct Returning {
    team: Id,
    rest: LeaseRest,
    /// From this time of our clock on it has come back by itself, whatever its term was; in milliseconds.
    until_ms: i64,
}

impl OutOfHand {
    fn put(&self, team: &Id, rests: Vec<LeaseRest>, until_ms: i64) {
        let returning = rests.into_iter().map(|rest| Returning { team: team.clone(), rest, until_ms });
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).extend(returning);
    }

    fn take(&self, now_ms: i64) -> Vec<Returning> {
        let mut all = std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner));
        all.retain(|returning| now_ms < returning.until_ms);
        all
    }
}

impl Gate {
    /// Takes the lease that a team should have, in the background.
    pub(super) fn take_lease_ahead(self: &Arc<Self>, team: &Id, wanted: Wanted) {
        let (gate, team) = (Arc::clone(self), team.clone());
        self.errands.spawn(async move { gate.take_lease(&team, wanted).await });
    }

    /// Takes the lease that a team should have, if it can have one now.
    pub(super) async fn take_lease(&self, team: &Id, wanted: Wanted) {
        match self.ask_for_lease(team, wanted).await {
            Ok(Some((lease, open_leases))) => {
                // If it is not settled by then, whoever sweeps the team ends it.
                let reclaim_at_ms = lease.granted_at_ms + self.escrow.options().terms.reclaim_after_ms();
                self.cache.note_due(team, reclaim_at_ms);
                if let Some(rest) = self.escrow.keep(team, lease, open_leases) {
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
        let pause_ms = if self.escrow.options().mode == EscrowMode::Eager { 0 } else { NOT_GRANTED_PAUSE_MS };
        self.escrow.not_granted(team, self.clock.monotonic_ms() + pause_ms);
    }

    /// Asks for one, by one id for as long as nobody knows what became of it.
    async fn ask_for_lease(&self, team: &Id, wanted: Wanted) -> Result<Option<(Lease, usize)>, GateError> {
        let options = self.escrow.options();
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let believed = self.believed(team).await?;
        let now_ms = self.store_time.now_ms();
        let believes = belief(&believed, &catalogue, now_ms);
        let remaining =
            believes.remaining.unwrap_or_else(|| believed.terms.included(&catalogue.catalogue.included_credits));
        let Wanted { credits, least_credits, open_leases } = wanted;
        let slice = slice_credits(credits, options.max_slice_credits, remaining, open_leases, least_credits);
        let Some(id) = self.escrow.next_lease_id().filter(|_| slice > 0) else { return Ok(None) };
        let asked_first_ms = self.clock.monotonic_ms();
        loop {
            let mut step = LeaseGrant::new(team, &id, slice, &believes, &options.terms);
            let reply = match self.transact(step.transaction.take()).await {
                Ok(reply) => reply,
                Err(error) => {
                    let is_late = self.clock.monotonic_ms() - asked_first_ms > options.terms.term_ms / 4;
                    if is_late || !is_known(&error) {
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
    pub(super) async fn give_back(&self, team: &Id, rests: Vec<LeaseRest>) {
        if rests.is_empty() {
            return;
        }
        let until_ms = self.clock.monotonic_ms() + LONGEST_LEASE_MS;
        self.give_back_until(team, rests, until_ms).await;
    }

    async fn give_back_until(&self, team: &Id, rests: Vec<LeaseRest>, until_ms: i64) {
        for some in rests.chunks(GIVEN_BACK_AT_ONCE) {
            if let Err(error) = self.try_to_give_back(team, some).await {
                if !is_known(&error) {
                    tracing::warn!(%team, %error, "leases could not be given back yet");
                }
                self.out_of_hand.put(team, some.to_vec(), until_ms);
            }
        }
    }

    async fn try_to_give_back(&self, team: &Id, rests: &[LeaseRest]) -> Result<(), GateError> {
        let mut steps: Vec<_> = rests.iter().map(|rest| GiveBack::new(team, rest)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (step, reply) in steps.iter().zip(self.transact_all(transactions).await?) {
            let reply = reply?;
            if let Some(terms) = step.terms(&reply)? {
                self.learn(team, &terms, step.account(&reply)?, reply.outcome);
            }
        }
        Ok(())
    }

    /// Heeds what a reply shows of a team's terms: leases that were granted under others, or are called back, are out of hand from now
    /// on, and soon given back.
    pub(super) fn heed(&self, team: &Id, terms: &Terms) {
        let is_recalled = terms.strict_until_ms > self.store_time.now_ms();
        let recalled_at_ms = is_recalled.then(|| terms.strict_until_ms - STRICT_MS);
        let rests = self.escrow.take_outdated(team, terms.version, recalled_at_ms);
        if !rests.is_empty() {
            self.out_of_hand.put(team, rests, self.clock.monotonic_ms() + LONGEST_LEASE_MS);
            self.out_of_hand.added.notify_one();
        }
    }

    /// Gives back all that is in hand, for nothing is to be drawn any more, and gives what was opened from memory records of its
    /// own, so that any sidecar knows of it.
    pub async fn give_everything_back(&self) {
        self.give_back_all(self.escrow.take_everything()).await;
        loop {
            let some = self.escrow.some_open(PAGE_OF_DUE);
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
            let _ = timeout(LOOK_EVERY, self.out_of_hand.added.notified()).await;
            if self.escrow.is_on() {
                looked_at_ms = self.look_after_leases_once(looked_at_ms).await;
            }
        }
    }

    /// One look: gives back what was called back since a time of the store, in Unix milliseconds, and what is of no use. The time of
    /// the store then.
    async fn look_after_leases_once(&self, since_ms: i64) -> i64 {
        let mut looked_at_ms = since_ms;
        if self.escrow.any_lease() {
            // Somebody waits for these, so they come first.
            looked_at_ms = self.answer_recalls(since_ms).await.unwrap_or(since_ms);
        }
        if self.store_time.jumped_within_ms(LONGEST_JUMP_UNSEEN_MS) {
            let all = self.escrow.take_everything();
            if !all.is_empty() {
                tracing::warn!(teams = all.len(), "the store's clock and ours jumped apart; leases are given back");
            }
            self.give_back_all(all).await;
        }
        let now_ms = self.clock.monotonic_ms();
        for returning in self.out_of_hand.take(now_ms) {
            self.give_back_until(&returning.team, vec![returning.rest], returning.until_ms).await;
        }
        self.give_back_all(self.escrow.take_useless(now_ms, TEAMS_A_LOOK)).await;
        looked_at_ms
    }

    /// Gives back what was taken out of hand of several teams.
    async fn give_back_all(&self, of_teams: Vec<(Id, Vec<LeaseRest>)>) {
        let given = stream::iter(of_teams).map(|(team, rests)| async move { self.give_back(&team, rests).await });
        given.buffer_unordered(TEAMS_AT_ONCE).collect::<()>().await;
    }

    /// Does at once all that is done in the background about leases and what was opened from them; for tests whose clock stands still.
    /// Recalls are answered from that time of the store on, in Unix milliseconds; the result is from when on the next time.
    pub async fn catch_up(&self, looked_at_ms: i64) -> i64 {
        let looked_at_ms = self.look_after_leases_once(looked_at_ms).await;
        self.record_waiting_runs().await;
        self.expire_from_leases().await;
        looked_at_ms
    }

    /// Gives back the leases of teams that were called back since a time of the store, in Unix milliseconds; its time now.
    async fn answer_recalls(&self, since_ms: i64) -> Result<i64, GateError> {
        let mut query = RecallsQuery::default();
        let reply = self.transact(query.transaction.take()).await?;
        let (recalled, old) = query.teams(&reply, since_ms)?;
        for team in recalled {
            let rests = self.escrow.take_back(&team, reply.now_ms);
            self.give_back(&team, rests).await;
        }
        if !old.is_empty() {
            self.transact(forget_announced(&old)).await?;
        }
        Ok(reply.now_ms)
    }

    /// Expires what was opened from leases and has run out.
    pub(super) async fn expire_from_leases(&self) {
        loop {
            let due = self.escrow.take_due(self.store_time.now_ms(), PAGE_OF_DUE);
            if due.is_empty() {
                return;
            }
            for (team, reservations) in due {
                if let Err(error) = self.expire(&team, &reservations).await {
                    let again_ms = self.store_time.now_ms() + 1_000;
                    reservations.iter().for_each(|(id, _)| self.escrow.note_due(&team, id, again_ms));
                    if !is_known(&error) {
                        tracing::warn!(%team, %error, "what was opened from a lease could not be expired yet");
                    }
                }
            }
        }
    }

    /// Gives reservations that were opened from leases records of their own.
    async fn record_open(&self, team: &Id, reservations: &[(Id, Held)]) -> Result<(), GateError> {
        use crate::domain::extend::record;
        let mut steps: Vec<_> = reservations.iter().map(|(id, held)| record(team, id, held)).collect();
        let transactions: Vec<Transaction> = steps.iter_mut().map(|step| step.transaction.take()).collect();
        for (reply, (id, _)) in self.transact_all(transactions).await?.into_iter().zip(reservations) {
            reply?;
            self.escrow.settled(team, id);
        }
        Ok(())
    }
}

/// A jump of the clocks is looked for each [`LOOK_EVERY`], in milliseconds; this leaves room for a few that were missed.
const LONGEST_JUMP_UNSEEN_MS: i64 = 1_000;
