//! The gate: cached view plus pure rules make a transaction; the store applies it or says what is so; a stale view is
//! refreshed and decided anew. This layer owns the order of these steps. It must not know proto, sockets or a store's
//! kind.

mod attempts;
mod audit;
pub mod calls;
mod catalogue;
mod charges;
mod due;
mod error;
mod leases;
mod memory;
mod pricing;
mod rates;
mod recall;
mod recent;
mod replay;
mod reserve;
mod returning;
mod run_records;
mod runs;
mod seed;
mod settle;
mod store_calls;
mod store_time;
mod suspended;
mod sweep;
mod teams;
mod usage;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::task::TaskTracker;

pub use error::GateError;

use crate::{
    cache::{Cache, TeamSnapshot, TeamUpdate},
    clock::Clock,
    domain::{
        account::Account, catalogue::VersionedCatalogue, id::Id, policy::Policy, seed::Seed, suspension::Suspension,
        terms::Terms, terms_change::TermsChange,
    },
    escrow::{Escrow, EscrowMode, EscrowOptions},
    metrics::{GateMetrics, Holdings},
    store::{Store, StoreError},
    traces::Traces,
    transaction::{Outcome, Reply, Transaction},
};
use calls::Balance;
use catalogue::SharedCatalogue;
use recall::Recalls;
use recent::RecentReservations;
use returning::ReturningLeases;
use run_records::RunRecords;
use store_calls::StoreCalls;
use store_time::StoreTime;
use suspended::SuspendedTeams;

/// At most so many teams are remembered; a view takes less than a kilobyte.
const CACHED_TEAMS: usize = 100_000;

/// What a gate is made of beside its store.
#[derive(Clone, Debug, Default)]
pub struct GateOptions {
    /// Settings of the rules.
    pub policy: Policy,
    /// The clock that measures how old a view is.
    pub clock: Clock,
    /// What the store is given where it has nothing.
    pub seed: Seed,
    /// Whether, and how, calls are answered from memory.
    pub escrow: EscrowOptions,
    /// Where is counted what it does.
    pub metrics: Arc<GateMetrics>,
    /// What makes spans of it, if anybody wants them.
    pub traces: Option<Arc<Traces>>,
}

/// Decides, writes through, and answers.
pub struct Gate {
    store: StoreCalls,
    metrics: Arc<GateMetrics>,
    traces: Option<Arc<Traces>>,
    policy: Policy,
    clock: Clock,
    cache: Cache,
    catalogue: SharedCatalogue,
    recent: RecentReservations,
    suspended: SuspendedTeams,
    escrow: Escrow,
    returning: ReturningLeases,
    recalls: Recalls,
    run_records: RunRecords,
    store_time: Arc<StoreTime>,
    draining: AtomicBool,
    /// Commits and releases under way, which are carried out though their callers may have gone.
    settling: TaskTracker,
    /// Leases that are being taken ahead of need, one for a team.
    errands: TaskTracker,
}

impl Gate {
    /// A gate on a store, which is given what it lacks of the seed.
    ///
    /// # Errors
    /// The store's, if the catalogue cannot be fetched or something cannot be seeded.
    pub async fn open(store: Store, options: GateOptions) -> Result<Arc<Self>, GateError> {
        let GateOptions { policy, clock, seed, mut escrow, metrics, traces } = options;
        // A store in memory answers as fast as a lease would; and a file promises that what was answered is on disk.
        if !matches!(store, Store::Redis(_)) && escrow.mode == EscrowMode::Auto {
            escrow.mode = EscrowMode::Off;
        }
        let store_time = Arc::new(StoreTime::new(clock.clone()));
        let store =
            StoreCalls::new(store, Arc::clone(&store_time), clock.clone(), Arc::clone(&metrics), traces.clone());
        let catalogue = SharedCatalogue::open(&store, &store_time, &seed).await?;
        let gate = Arc::new(Self {
            store,
            metrics,
            traces,
            policy,
            clock,
            cache: Cache::new(CACHED_TEAMS),
            catalogue,
            recent: RecentReservations::default(),
            suspended: SuspendedTeams::default(),
            escrow: Escrow::new(escrow),
            returning: ReturningLeases::default(),
            recalls: Recalls::default(),
            run_records: RunRecords::default(),
            store_time,
            draining: AtomicBool::new(false),
            settling: TaskTracker::new(),
            errands: TaskTracker::new(),
        });
        gate.apply_seed(seed).await?;
        Ok(gate)
    }

    /// From now on new reservations and runs are refused with [`GateError::Draining`].
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether calls can be decided now: by the store, or, while it is away, from leases in hand that can still be
    /// priced.
    pub fn can_decide(&self) -> bool {
        let is_up = self.store.health().borrow().is_up();
        is_up || (self.escrow.has_any_lease() && self.catalogue.is_fresh())
    }

    /// What it has in hand now.
    pub fn holdings(&self) -> Holdings {
        let (leases, leased_credits) = self.escrow.held_leases();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Holdings {
            leases: number(leases),
            returning: number(self.returning.len()),
            leased_credits: u64::try_from(leased_credits).unwrap_or_default(),
            open_reservations: number(self.escrow.open_reservation_count()),
        }
    }

    /// Waits until the commits and releases under way have been carried out.
    pub async fn settled(&self) {
        self.settling.close();
        self.settling.wait().await;
        self.errands.close();
        self.errands.wait().await;
    }

    /// Says in the call's span what was decided, if it has one.
    fn trace_decision(&self, outcome: &'static str, reason: Option<&'static str>, basis: Option<&'static str>) {
        if let Some(traces) = &self.traces {
            traces.decided(outcome, reason, basis);
        }
    }

    fn refuse_if_draining(&self) -> Result<(), GateError> {
        if self.draining.load(Ordering::SeqCst) { Err(GateError::Draining) } else { Ok(()) }
    }

    async fn transact(&self, transaction: Transaction) -> Result<Reply, GateError> {
        Ok(self.store.transact(transaction).await?)
    }

    /// The same for several transactions of one team, in one call.
    async fn transact_all(&self, transactions: Vec<Transaction>) -> Result<Vec<Result<Reply, StoreError>>, GateError> {
        Ok(self.store.transact_all(transactions).await?)
    }

    /// What is believed of a team: from memory, or read from the store.
    async fn believed(&self, team: &Id) -> Result<TeamSnapshot, GateError> {
        self.believed_at(team, self.clock.monotonic_ms()).await
    }

    /// The same at a time of our clock, in milliseconds.
    async fn believed_at(&self, team: &Id, at_ms: i64) -> Result<TeamSnapshot, GateError> {
        let believed = self.cache.snapshot(team, at_ms);
        self.metrics.looked_up(believed.is_some());
        if let Some(believed) = believed {
            return Ok(believed);
        }
        let terms = Box::pin(self.read_terms(team)).await?;
        Ok(TeamSnapshot { terms, account: None, changes: 0 })
    }

    /// A team's terms as the store has them now.
    async fn read_terms(&self, team: &Id) -> Result<Terms, GateError> {
        let mut look = TermsChange::read(team);
        let reply = self.transact(look.transaction.take()).await?;
        self.metrics.refreshed();
        let terms = self.team_exists(team, look.terms(&reply)?)?;
        let account = self.cache.snapshot(team, self.clock.monotonic_ms()).and_then(|believed| believed.account);
        self.learn(team, &terms, account, reply.outcome);
        Ok(terms)
    }

    fn team_exists<T>(&self, team: &Id, known: Option<T>) -> Result<T, GateError> {
        known.ok_or_else(|| {
            self.cache.remove(team);
            GateError::TeamNotFound
        })
    }

    fn learn(&self, team: &Id, terms: &Terms, account: Option<Account>, outcome: Outcome) {
        if self.escrow.is_on() {
            self.apply_terms(team, terms);
        }
        let changed = matches!(outcome, Outcome::Applied { .. });
        let lesson = TeamUpdate { terms: terms.clone(), account, changed };
        self.cache.update(team, lesson, self.clock.monotonic_ms());
    }

    /// A call of a team was suspended: the log is told if that is news.
    fn note_suspended(&self, team: &Id, suspension: &Suspension) {
        if self.suspended.refused(team, self.clock.monotonic_ms()) {
            let until = jiff::Timestamp::from_millisecond(suspension.resumes_at_ms).map(|at| at.to_string());
            let until = until.unwrap_or_default();
            tracing::info!(%team, reason = suspension.reason.name(), until, "a team is suspended");
        }
    }

    /// A call of a team proceeds within what the team has or may buy: the log is told if the team was suspended.
    fn note_proceeds(&self, team: &Id, at_ms: i64) {
        if let Some(suspended_ms) = self.suspended.proceeds(team, at_ms) {
            tracing::info!(%team, suspended_ms, "a team has resumed");
        }
    }

    fn balance(&self, catalogue: &VersionedCatalogue, terms: &Terms, account: Account) -> Balance {
        self.balance_at(self.store_time.now_ms(), catalogue, terms, account)
    }

    fn balance_at(&self, now_ms: i64, catalogue: &VersionedCatalogue, terms: &Terms, account: Account) -> Balance {
        let announced = catalogue.catalogue.announced_at(now_ms);
        Balance {
            plan: terms.plan,
            account,
            overages_enabled: terms.overages_enabled,
            next_rate_card: announced.map(|card| card.version.clone()),
        }
    }
}
