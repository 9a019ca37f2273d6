//! Commit, Release and Extend: changes of a reservation, from its grant or its record to the verified answer.
//!
//! This part owns the commits and releases in flight. It must not know how obstacles are removed.

mod commit;
mod extend;
mod release;

use std::sync::Arc;

use futures::FutureExt as _;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, field::display};

use super::{
    attempts::{Attempts, Obstacle},
    calls::{Balance, SettleCall},
    decisions::Decisions,
    error::GateError,
    held_leases::HeldLeases,
    obstacles::Obstacles,
    recent::RecentReservations,
    store_client::StoreClient,
};
use crate::{
    domain::{
        account::Account,
        catalogue::VersionedCatalogue,
        id::Id,
        reservation::{BackedReservation, Backing, Reservation, State, read_grant},
        settlement::{Settlement, SettlementVerdict},
    },
    traces::{self, Traces},
    transaction::Outcome,
};

/// Settles reservations.
pub(crate) struct Settlements {
    pub(crate) store: Arc<StoreClient>,
    pub(crate) held: Arc<HeldLeases>,
    pub(crate) obstacles: Arc<Obstacles>,
    pub(crate) recent: Arc<RecentReservations>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) traces: Option<Arc<Traces>>,
    /// Commits and releases in flight. They are carried out even if their callers go away.
    pub(crate) tasks: TaskTracker,
}

/// A reservation and its account after a step.
struct Settled {
    reservation: Reservation,
    balance: Balance,
    /// Whether this step changed the reservation. If `false`, an earlier one did.
    applied: bool,
}

/// The reservation that a call settles, and what the next step assumes of it.
struct Target<'a> {
    team: &'a Id,
    id: &'a Id,
    assumed: BackedReservation,
    /// The account of the reservation's cycle, if a reply has shown it.
    account: Option<Account>,
    attempts: Attempts,
}

impl Settlements {
    /// Waits until the commits and releases that are in flight now are done.
    pub(crate) async fn done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Finds the reservation that a call settles: by its grant, in memory, or in the store. The first two count
    /// only as far as the store's record or the reservation's lease confirms them.
    async fn target<'a>(&self, call: &'a SettleCall) -> Result<Target<'a>, GateError> {
        let (team, id) = (&call.team, &call.reservation);
        let assumed = match self.assumed_reservation(call) {
            Some(assumed) => assumed,
            None => self.store.read_reservation(team, id).await?.0.ok_or(GateError::ReservationNotFound)?.into(),
        };
        let reservation = &assumed.reservation;
        let account = self.store.known_account(team).filter(|account| account.cycle == reservation.terms.cycle);
        let content = &reservation.content;
        Span::current().record("flow", display(&content.flow)).record("run", content.run.as_ref().map(display));
        Ok(Target { team, id, assumed, account, attempts: Attempts::default() })
    }

    /// Returns the reservation that a call settles as its grant, or this sidecar's memory, has it. After an extension
    /// the reservation has a record that is newer than its grant.
    fn assumed_reservation(&self, call: &SettleCall) -> Option<BackedReservation> {
        let (team, id) = (&call.team, &call.reservation);
        let granted = read_grant(&call.grant, id).filter(|granted| granted.reservation.state == State::Open);
        if let Some(BackedReservation { backing: Backing::Record, .. }) = granted {
            return granted;
        }
        // Another reservation may have had the id before, and been forgotten since.
        let is_same = |known: &Reservation| {
            granted.as_ref().is_none_or(|granted| granted.reservation.created_at_ms == known.created_at_ms)
        };
        let known = self.recent.recall(team, id).filter(|known| known.state == State::Open && is_same(known));
        known.map(BackedReservation::from).or_else(|| self.held.escrow.find(team, id)).or(granted)
    }

    /// Sends one step, and returns the reservation after it. Returns `None` if the call has to try again; the target is
    /// then as the store has it, and the obstacle is removed.
    ///
    /// A step without options only looks: it is done if the reservation is as assumed. Any step is done if the
    /// reservation turns out to be committed or released, because nothing changes it any more.
    async fn round(
        &self,
        catalogue: &VersionedCatalogue,
        target: &mut Target<'_>,
        mut step: Settlement,
    ) -> Result<Option<Settled>, GateError> {
        let store = &self.store;
        let only_looks = step.transaction.options.is_empty();
        let reply = store.transact(step.transaction.take()).await?;
        let account = step.account(&reply)?;
        let terms = step.terms(&reply)?;
        self.decisions.settled(target.team, &target.assumed, &step, &reply)?;
        if let Some(terms) = &terms {
            store.learn(target.team, terms, account.clone(), reply.outcome);
        }
        let (actual, done) = match step.verdict(&reply)? {
            SettlementVerdict::TeamNotFound => return store.team_exists(target.team, None),
            SettlementVerdict::NotFound => return Err(self.not_found(target)),
            SettlementVerdict::Done(reservation) => (reservation.into(), true),
            SettlementVerdict::Stale(actual) => {
                let assumed = &target.assumed;
                let as_assumed = only_looks && actual == *assumed;
                // A grant may be forged, and the account in the reply is that of the cycle that the grant named.
                let same_account = actual.reservation.terms.cycle == assumed.reservation.terms.cycle;
                let is_final = matches!(actual.reservation.state, State::Committed(_) | State::Released);
                (actual, as_assumed || (is_final && same_account))
            }
        };
        if actual.backing == Backing::Record && self.held.escrow.close_reservation(target.team, target.id) {
            // A repeat of the call gets this reservation, and not a new one from memory.
            self.recent.remember(target.team, target.id, &actual.reservation);
        }
        if actual.is_forgotten(reply.now_ms, store.policy()) {
            return Err(self.not_found(target));
        }
        let BackedReservation { reservation, backing } = actual;
        if let (true, Some(terms), Some(account)) = (done, terms, account.clone()) {
            let balance = store.balance(catalogue, &terms, account);
            let applied = matches!(reply.outcome, Outcome::Applied { .. });
            let blocks = step.effects(&reply).blocks;
            if blocks > 0 {
                let (cycle, last_block) = (reservation.terms.cycle, balance.account.blocks);
                self.decisions.blocks_charged(target.team, cycle, last_block, blocks);
            }
            return Ok(Some(Settled { reservation: reservation.at(reply.now_ms), balance, applied }));
        }
        let (holds, leases) = (step.blocking_holds(&reply)?, step.blocking_leases(&reply));
        let obstacle = target.attempts.obstacle_to(&holds, &leases, reply.now_ms).unwrap_or(Obstacle::Stale);
        self.obstacles.remove(target.team, obstacle, &mut target.attempts).await?;
        target.account = account;
        target.assumed = BackedReservation { reservation, backing };
        Ok(None)
    }

    fn not_found(&self, target: &Target<'_>) -> GateError {
        self.recent.forget(target.team, target.id);
        self.held.escrow.close_reservation(target.team, target.id);
        GateError::ReservationNotFound
    }

    /// Spawns a task that does the work even if the caller goes away. The task starts before this returns.
    fn carry_out<T, Work>(&self, work: Work) -> impl Future<Output = Work::Output> + use<T, Work>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, GateError>> + Send + 'static,
    {
        let work = work.in_current_span();
        let task = match &self.traces {
            Some(_) => self.tasks.spawn(traces::in_current_span(work)),
            None => self.tasks.spawn(work),
        };
        task.map(|joined| {
            joined.unwrap_or_else(|error| {
                tracing::error!(%error, "a commit or release was aborted");
                Err(GateError::Unverified)
            })
        })
    }
}
