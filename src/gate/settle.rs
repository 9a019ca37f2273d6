//! Commit, Release and Extend: changes of a reservation that was made, from its grant or its record to the verified
//! answer.

use std::{future::Future, sync::Arc};

use futures::FutureExt as _;
use tracing::{Instrument as _, Span, field::display};

use super::{
    Gate, GateError,
    attempts::{Attempts, Obstacle},
    calls::{ActualUse, Balance, CommitAnswer, ReleaseAnswer, SettleCall},
};
use crate::{
    domain::{
        account::Account,
        billing_cycle::day_name,
        catalogue::VersionedCatalogue,
        charging::CommitEffects,
        commit::{CommitAssumptions, commit},
        expire::expire,
        extend::extend,
        id::Id,
        release::release,
        reservation::{BackedReservation, Backing, Charged, Reservation, State, read_grant},
        settlement::{Settlement, SettlementVerdict, read_reservation},
    },
    metrics::Committed,
    traces,
    transaction::{Outcome, Reply},
};

/// A reservation and its account as they are now, after what was to be done is done.
struct Settled {
    reservation: Reservation,
    balance: Balance,
    /// This very step did it; otherwise it was so already.
    applied: bool,
}

/// The reservation that a call settles, and what is believed of it.
struct Target<'a> {
    team: &'a Id,
    id: &'a Id,
    held: BackedReservation,
    /// The account of its cycle, if a reply has shown it.
    account: Option<Account>,
    attempts: Attempts,
}

impl Gate {
    /// Finalizes the cost of a reservation. It is carried out even if the caller goes away.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer.
    pub async fn commit(self: &Arc<Self>, call: SettleCall, actual: ActualUse) -> Result<CommitAnswer, GateError> {
        let gate = self.clone();
        self.carried_out(async move { gate.commit_now(call, actual).await }).await
    }

    /// Gives the credits of a reservation back. It is carried out even if the caller goes away.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer.
    pub async fn release(self: &Arc<Self>, call: SettleCall) -> Result<ReleaseAnswer, GateError> {
        let gate = self.clone();
        self.carried_out(async move { gate.release_now(call).await }).await
    }

    /// Holds the credits of a reservation longer. The answer is when the hold runs out, in Unix milliseconds.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer.
    pub async fn extend(&self, call: SettleCall, hold_ms: i64) -> Result<i64, GateError> {
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let mut target = self.target(&call).await?;
        loop {
            let held = &target.held;
            if matches!(held.backing, Backing::Lease { reclaimed: true, .. }) {
                // The store said so, whatever the grant says of its end.
                return Err(GateError::ReservationExpired);
            }
            let open = held.reservation.clone().at(self.store_time.now_ms()).state == State::Open;
            let step = if open {
                extend(&call.team, &call.reservation, held, hold_ms)
            } else {
                read_reservation(&call.team, &call.reservation, held)
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else { continue };
            let extended = settled.reservation;
            return match extended.state {
                // It only seemed due: the store's time, which we know now, is behind our guess.
                State::Open if !open => {
                    self.stale(&mut target.attempts)?;
                    continue;
                }
                State::Open => {
                    self.recent.remember(&call.team, &call.reservation, &extended);
                    Ok(extended.expires_at_ms)
                }
                State::Committed(_) => Err(GateError::ReservationCommitted),
                State::Released => Err(GateError::ReservationReleased),
                State::Expired => Err(GateError::ReservationExpired),
            };
        }
    }

    /// One reservation as it stands now.
    ///
    /// # Errors
    /// [`GateError::ReservationNotFound`], [`GateError::TeamNotFound`], and the store's.
    pub async fn reservation(&self, team: &Id, id: &Id) -> Result<Reservation, GateError> {
        // What was opened from memory and is not settled, nobody else knows of.
        let (found, _) = self.made(team, id).await?.ok_or(GateError::ReservationNotFound)?;
        Ok(found)
    }

    async fn commit_now(&self, call: SettleCall, actual: ActualUse) -> Result<CommitAnswer, GateError> {
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let mut target = self.target(&call).await?;
        loop {
            let held = &target.held;
            let reservation = &held.reservation;
            let now_ms = self.store_time.now_ms();
            let standing = reservation.clone().at(now_ms).state;
            let late = standing == State::Expired;
            let forgotten = held.is_forgotten(now_ms, &self.policy);
            let charge = matches!(standing, State::Open | State::Expired) && !forgotten;
            let charged_now = charge.then(|| charged(reservation, &actual, &catalogue, late)).transpose();
            let step = match &charged_now {
                Ok(Some(charged)) => {
                    let belief = CommitAssumptions {
                        account: target.account.as_ref(),
                        recall_leases_first: target.attempts.may_recall(),
                    };
                    commit(&call.team, &call.reservation, &target.held, charged, belief, &self.policy)
                }
                // That nothing can be charged is told once the reservation is known to be as believed: a grant may name
                // any card.
                Ok(None) | Err(_) => read_reservation(&call.team, &call.reservation, &target.held),
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else { continue };
            let Settled { reservation: settled, balance, applied } = settled;
            return match settled.state.clone() {
                State::Committed(done) => {
                    self.recent.remember(&call.team, &call.reservation, &settled);
                    if !applied {
                        let again = charged(&settled, &actual, &catalogue, done.late)?;
                        if (again.units, &again.model) != (done.units, &done.model) {
                            return Err(GateError::IdReused { what: "reservation_id" });
                        }
                    }
                    Ok(CommitAnswer { credits: done.credits, balance, replayed: !applied, late: done.late })
                }
                State::Released => Err(GateError::ReservationReleased),
                State::Open | State::Expired => Err(charged_now.err().unwrap_or(GateError::Unverified)),
            };
        }
    }

    async fn release_now(&self, call: SettleCall) -> Result<ReleaseAnswer, GateError> {
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let mut target = self.target(&call).await?;
        loop {
            let held = &target.held;
            let due = held.reservation.is_due(self.store_time.now_ms());
            let open = held.reservation.state == State::Open;
            let step = match (open, due) {
                (true, false) => release(&call.team, &call.reservation, held, &self.policy),
                (true, true) => expire(&call.team, &call.reservation, held, &self.policy),
                (false, _) => read_reservation(&call.team, &call.reservation, held),
            };
            let Some(settled) = self.round(&catalogue, &mut target, step).await? else { continue };
            let Settled { reservation: settled, balance, applied } = settled;
            return match settled.state {
                State::Released => {
                    self.recent.remember(&call.team, &call.reservation, &settled);
                    Ok(ReleaseAnswer { balance, replayed: !applied })
                }
                // The hold ran out first: its credits have come back already.
                State::Expired => Ok(ReleaseAnswer { balance, replayed: false }),
                State::Committed(_) => Err(GateError::ReservationCommitted),
                State::Open => Err(GateError::Unverified),
            };
        }
    }

    /// What a call is about: from its grant, from memory, or read from the store. The first two are believed only as
    /// far as the store finds its record to be the very same, or its lease to cover it.
    async fn target<'a>(&self, call: &'a SettleCall) -> Result<Target<'a>, GateError> {
        let (team, id) = (&call.team, &call.reservation);
        let held = match self.believed_held(call) {
            Some(believed) => believed,
            None => self.read_reservation(team, id).await?.0.ok_or(GateError::ReservationNotFound)?.into(),
        };
        let reservation = &held.reservation;
        let known = self.cache.snapshot(team, self.clock.monotonic_ms()).and_then(|believed| believed.account);
        let account = known.filter(|account| account.cycle == reservation.terms.cycle);
        let content = &reservation.content;
        Span::current().record("flow", display(&content.flow)).record("run", content.run.as_ref().map(display));
        Ok(Target { team, id, held, account, attempts: Attempts::default() })
    }

    /// What a call is about as its grant, or this sidecar's memory, has it. One that was extended has a record since,
    /// though its grant still says otherwise.
    fn believed_held(&self, call: &SettleCall) -> Option<BackedReservation> {
        let (team, id) = (&call.team, &call.reservation);
        let granted = read_grant(&call.grant, id).filter(|held| held.reservation.state == State::Open);
        if let Some(BackedReservation { backing: Backing::Record, .. }) = granted {
            return granted;
        }
        // What had the id before, and was forgotten since, is another one.
        let is_same = |known: &Reservation| {
            granted.as_ref().is_none_or(|granted| granted.reservation.created_at_ms == known.created_at_ms)
        };
        let known = self.recent.recall(team, id).filter(|known| known.state == State::Open && is_same(known));
        known.map(BackedReservation::from).or_else(|| self.escrow.find(team, id)).or(granted)
    }

    /// Sends one step. A step without options only looks: it is done if the reservation is as believed. Any step is
    /// done if the reservation turns out to be committed or released: nothing changes it any more. `None` is a stale
    /// round: the target is as the store has it now.
    async fn round(
        &self,
        catalogue: &VersionedCatalogue,
        target: &mut Target<'_>,
        mut step: Settlement,
    ) -> Result<Option<Settled>, GateError> {
        let looks = step.transaction.options.is_empty();
        let reply = self.transact(step.transaction.take()).await?;
        let account = step.account(&reply)?;
        let terms = step.terms(&reply)?;
        self.count_settled(target.team, &target.held, &step, &reply)?;
        if let Some(terms) = &terms {
            self.learn(target.team, terms, account.clone(), reply.outcome);
        }
        let (held, done) = match step.verdict(&reply)? {
            SettlementVerdict::TeamNotFound => {
                self.cache.remove(target.team);
                return Err(GateError::TeamNotFound);
            }
            SettlementVerdict::NotFound => return Err(self.not_found(target)),
            SettlementVerdict::Done(reservation) => (reservation.into(), true),
            SettlementVerdict::Stale(held) => {
                let believed = &target.held;
                let as_believed = looks && held == *believed;
                // A grant may be anybody's invention; the account in the reply is that of the cycle it named.
                let same_account = held.reservation.terms.cycle == believed.reservation.terms.cycle;
                let is_final = matches!(held.reservation.state, State::Committed(_) | State::Released);
                (held, as_believed || (is_final && same_account))
            }
        };
        if held.backing == Backing::Record && self.escrow.close_reservation(target.team, target.id) {
            // A repeat of the call is to be answered with this, and not from memory as a new one.
            self.recent.remember(target.team, target.id, &held.reservation);
        }
        if held.is_forgotten(reply.now_ms, &self.policy) {
            return Err(self.not_found(target));
        }
        let BackedReservation { reservation, backing } = held;
        if let (true, Some(terms), Some(account)) = (done, terms, account.clone()) {
            let balance = self.balance(catalogue, &terms, account);
            let applied = matches!(reply.outcome, Outcome::Applied { .. });
            let blocks = step.effects(&reply).blocks;
            if blocks > 0 {
                let (account, cycle) = (&balance.account, day_name(reservation.terms.cycle.start_ms));
                let first_block = account.blocks - blocks + 1;
                tracing::info!(team = %target.team, cycle, first_block, blocks, "overage blocks are charged");
            }
            return Ok(Some(Settled { reservation: reservation.at(reply.now_ms), balance, applied }));
        }
        let (holds, leases) = (step.blocking_holds(&reply)?, step.blocking_leases(&reply));
        let obstacle = target.attempts.obstacle_to(&holds, &leases, reply.now_ms).unwrap_or(Obstacle::Stale);
        self.remove(target.team, obstacle, &mut target.attempts).await?;
        target.account = account;
        target.held = BackedReservation { reservation, backing };
        Ok(None)
    }

    /// Counts what a step did, if it did it.
    pub(super) fn count_settled(
        &self,
        team: &Id,
        believed: &BackedReservation,
        step: &Settlement,
        reply: &Reply,
    ) -> Result<(), GateError> {
        if !matches!(reply.outcome, Outcome::Applied { .. }) {
            return Ok(());
        }
        let credits = believed.reservation.terms.credits;
        match step.reservation(reply)?.map(|settled| settled.state) {
            Some(State::Committed(charged)) => {
                let CommitEffects { blocks, run_completion, above_hold } = step.effects(reply);
                let committed = Committed { credits: charged.credits, run_completion, above_hold, blocks };
                self.metrics.committed(team, committed);
            }
            Some(State::Released) => self.metrics.released(team, credits),
            // What had expired so long ago that it was forgotten at once leaves no record.
            Some(State::Expired) | None => self.metrics.expired(team, credits),
            Some(State::Open) => {}
        }
        Ok(())
    }

    fn not_found(&self, target: &Target<'_>) -> GateError {
        self.recent.forget(target.team, target.id);
        self.escrow.close_reservation(target.team, target.id);
        GateError::ReservationNotFound
    }

    /// Has a task carry it out, whoever waits for it: it begins before this returns.
    fn carried_out<T, Work>(&self, work: Work) -> impl Future<Output = Work::Output> + use<T, Work>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, GateError>> + Send + 'static,
    {
        let work = work.in_current_span();
        let carried_out = match &self.traces {
            Some(_) => self.settling.spawn(traces::in_current_span(work)),
            None => self.settling.spawn(work),
        };
        carried_out.map(|carried_out| {
            carried_out.unwrap_or_else(|error| {
                tracing::error!(%error, "a commit or release was cut off");
                Err(GateError::Unverified)
            })
        })
    }
}

/// What a commit charges: what was really used, at the reservation's card and plan (rule 7).
fn charged(
    reservation: &Reservation,
    actual: &ActualUse,
    catalogue: &VersionedCatalogue,
    late: bool,
) -> Result<Charged, GateError> {
    let (content, terms) = (&reservation.content, &reservation.terms);
    let units = actual.units.unwrap_or(content.units);
    let Some(named) = &actual.model else {
        let model = content.model.clone();
        if units == content.units {
            return Ok(Charged { credits: terms.credits, units, model, late });
        }
        let credits = price(catalogue, terms, &model, units)?.0;
        return Ok(Charged { credits, units, model, late });
    };
    let (credits, model) = price(catalogue, terms, named, units)?;
    Ok(Charged { credits, units, model, late })
}

fn price(
    catalogue: &VersionedCatalogue,
    terms: &crate::domain::reservation::ReservationTerms,
    model: &Id,
    units: u32,
) -> Result<(i64, Id), GateError> {
    let unknown = || GateError::UnknownModel { model: model.to_string(), rate_card: terms.rate_card.to_string() };
    let rate = catalogue.catalogue.rate(terms.rate_card.as_str(), model.as_str()).ok_or_else(unknown)?;
    let canonical = Id::parse(&rate.model).map_err(|_| unknown())?;
    Ok((rate.price(terms.plan, units), canonical))
}
