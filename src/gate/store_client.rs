//! The client of the store: it sends every transaction, and caches what the replies show.
//!
//! It keeps the terms and the latest account of each team, a copy of the catalogue, and an estimate of the store's
//! time. All of it may be out of date. That is safe, because every transaction carries what it assumes, and the store
//! checks it.
//!
//! The client reports the terms that it sees to the held leases. It must not know what a call means, or how leases are
//! taken.

mod balances;
mod catalogue;
mod reads;
mod store_calls;
mod store_time;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use self::{
    balances::{assumptions, balance_at},
    catalogue::catalogue_in,
};
use self::{catalogue::SharedCatalogue, store_calls::StoreCalls, store_time::StoreTime};
use super::{error::GateError, held_leases::HeldLeases, options::GateOptions};
use crate::{
    cache::{Cache, TeamSnapshot, TeamUpdate},
    clock::Clock,
    domain::{
        account::Account, catalogue::VersionedCatalogue, id::Id, policy::Policy, terms::Terms,
        terms_change::TermsChange,
    },
    metrics::GateMetrics,
    store::{Store, StoreError, StoreHealth},
    transaction::{Outcome, Reply, Transaction},
};

/// Maximum number of teams in the cache. One team takes less than a kilobyte.
const CACHED_TEAMS: usize = 100_000;

/// Sends transactions, and caches what the replies show.
pub(crate) struct StoreClient {
    calls: StoreCalls,
    time: Arc<StoreTime>,
    catalogue: SharedCatalogue,
    cache: Cache,
    clock: Clock,
    policy: Policy,
    metrics: Arc<GateMetrics>,
    held: Arc<HeldLeases>,
}

impl StoreClient {
    /// Opens the client of a store. If the store has no catalogue, that of the seed is written.
    ///
    /// # Errors
    /// The store's, if the catalogue cannot be fetched.
    pub(crate) async fn open(store: Store, options: &GateOptions, held: Arc<HeldLeases>) -> Result<Self, GateError> {
        let GateOptions { policy, clock, seed, metrics, traces, .. } = options;
        let time = Arc::new(StoreTime::new(clock.clone()));
        let calls = StoreCalls::new(store, Arc::clone(&time), clock.clone(), Arc::clone(metrics), traces.clone());
        let catalogue = SharedCatalogue::open(&calls, &time, seed).await?;
        Ok(Self {
            calls,
            time,
            catalogue,
            cache: Cache::new(CACHED_TEAMS),
            clock: clock.clone(),
            policy: policy.clone(),
            metrics: Arc::clone(metrics),
            held,
        })
    }

    /// Returns the settings of the rules.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the counters.
    pub(crate) fn metrics(&self) -> &GateMetrics {
        &self.metrics
    }

    /// Returns what was last seen of each team.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the sidecar's clock, in milliseconds. It never goes back.
    pub(crate) fn monotonic_ms(&self) -> i64 {
        self.clock.monotonic_ms()
    }

    /// Returns the estimate of the store's time.
    pub(crate) fn time(&self) -> &StoreTime {
        &self.time
    }

    /// Returns the estimated time of the store, in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.time.now_ms()
    }

    /// Watches whether the store serves.
    pub(crate) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.calls.health()
    }

    /// Returns whether a text has the form of one of the store's cursors.
    pub(crate) fn is_cursor(&self, text: &str) -> bool {
        self.calls.is_cursor(text)
    }

    /// Sends a transaction.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Result<Reply, GateError> {
        Ok(self.calls.transact(transaction).await?)
    }

    /// Sends several transactions of one team in one store call.
    pub(crate) async fn transact_all(
        &self,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Result<Reply, StoreError>>, GateError> {
        Ok(self.calls.transact_all(transactions).await?)
    }

    /// Returns a catalogue that is recent enough to price a call with. Fetches it if the copy is too old.
    pub(crate) fn fresh_catalogue(&self) -> impl Future<Output = Result<Arc<VersionedCatalogue>, GateError>> {
        self.fresh_catalogue_at(self.now_ms())
    }

    /// Does the same as [`StoreClient::fresh_catalogue`] for a time of the store, in Unix milliseconds.
    pub(crate) fn fresh_catalogue_at(
        &self,
        now_ms: i64,
    ) -> impl Future<Output = Result<Arc<VersionedCatalogue>, GateError>> {
        self.catalogue.fresh_at(now_ms, &self.calls)
    }

    /// Returns whether the copy of the catalogue is recent enough to price a call with.
    pub(crate) fn has_fresh_catalogue(&self) -> bool {
        self.catalogue.is_fresh()
    }

    /// Fetches the catalogue.
    pub(crate) async fn refresh_catalogue(&self) -> Result<Arc<VersionedCatalogue>, GateError> {
        self.catalogue.refresh(&self.calls).await
    }

    /// Fetches the catalogue at regular intervals. Never returns.
    pub(crate) async fn keep_catalogue_fresh(&self) {
        self.catalogue.keep_fresh(&self.calls).await;
    }

    /// Returns the terms and the account of a team as last seen: from the cache, or read from the store.
    pub(crate) fn team_snapshot(&self, team: &Id) -> impl Future<Output = Result<TeamSnapshot, GateError>> {
        self.team_snapshot_at(team, self.monotonic_ms())
    }

    /// Does the same as [`StoreClient::team_snapshot`] at a time of the sidecar's clock, in milliseconds.
    pub(crate) async fn team_snapshot_at(&self, team: &Id, at_ms: i64) -> Result<TeamSnapshot, GateError> {
        let snapshot = self.cache.snapshot(team, at_ms);
        self.metrics.looked_up(snapshot.is_some());
        if let Some(snapshot) = snapshot {
            return Ok(snapshot);
        }
        let terms = Box::pin(self.read_terms(team)).await?;
        Ok(TeamSnapshot { terms, account: None, changes: 0 })
    }

    /// Returns the latest account of a team that a reply has shown.
    pub(crate) fn known_account(&self, team: &Id) -> Option<Account> {
        self.cache.snapshot(team, self.monotonic_ms()).and_then(|snapshot| snapshot.account)
    }

    /// Reads the terms of a team from the store.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], and the store's.
    pub(crate) async fn read_terms(&self, team: &Id) -> Result<Terms, GateError> {
        let mut look = TermsChange::read(team);
        let reply = self.transact(look.transaction.take()).await?;
        self.metrics.refreshed();
        let terms = self.team_exists(team, look.terms(&reply)?)?;
        let account = self.known_account(team);
        self.learn(team, &terms, account, reply.outcome);
        Ok(terms)
    }

    /// Checks that a reply showed something of a team, which is `None` if the team does not exist.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`]; the team is removed from the cache.
    pub(crate) fn team_exists<T>(&self, team: &Id, shown: Option<T>) -> Result<T, GateError> {
        shown.ok_or_else(|| {
            self.cache.remove(team);
            GateError::TeamNotFound
        })
    }

    /// Learns the terms of a team, and the account that a call was about, from a reply with this outcome.
    pub(crate) fn learn(&self, team: &Id, terms: &Terms, account: Option<Account>, outcome: Outcome) {
        let at_ms = self.monotonic_ms();
        self.held.apply_terms(team, terms, self.now_ms(), at_ms);
        let changed = matches!(outcome, Outcome::Applied { .. });
        let lesson = TeamUpdate { terms: terms.clone(), account, changed };
        self.cache.update(team, lesson, at_ms);
    }
}
