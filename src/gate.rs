//! The gate: answers the calls of the contract, as domain types.
//!
//! A call starts from the data that this sidecar has cached. The rules make a transaction of that, and the store applies
//! it or says which assumption was wrong. Then the gate updates the cache from the reply and tries again. So cached data
//! decides how many attempts a call takes, and never what its answer is. Calls that a held lease covers are answered
//! without the store.
//!
//! [`Gate`] only wires its parts together. Each part owns its fields and has a file or a folder of its own:
//!
//! | part | what it does |
//! |---|---|
//! | `store_client` | sends every transaction and caches what the replies show: teams, the catalogue, the store's time |
//! | `held_leases` | the leases that are held, and what is opened from them; in memory |
//! | `leases` | takes leases and gives them back |
//! | `run_records` | records runs that began in memory |
//! | `recent` | reservations that this sidecar made or settled lately |
//! | `decisions` | reports decisions to the metrics, the traces and the log |
//! | `expiry` | expires holds that have run out |
//! | `attempts`, `obstacles` | how often a call tries, and what it removes before it tries again |
//! | `reservations`, `settlements`, `runs` | the calls of executors (`executor_api`) |
//! | `administration`, `listings` | the calls of operators (`operator_api`) |
//! | `sweeper` | gives abandoned credits back in the background |
//!
//! The gate must not know proto, sockets, or which kind of store it has.

mod administration;
mod attempts;
pub mod calls;
mod decisions;
mod draining;
mod error;
mod executor_api;
mod expiry;
mod held_leases;
mod leases;
mod listings;
mod obstacles;
mod operator_api;
mod options;
mod recent;
mod reservations;
mod run_records;
mod runs;
mod settlements;
mod store_client;
mod sweeper;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    administration::Administration, decisions::Decisions, draining::Draining, expiry::Expiry, held_leases::HeldLeases,
    leases::Leases, listings::Listings, obstacles::Obstacles, recent::RecentReservations, reservations::Reservations,
    run_records::RunRecords, runs::Runs, settlements::Settlements, store_client::StoreClient, sweeper::Sweeper,
};
pub use self::{error::GateError, options::GateOptions};
use crate::{escrow::EscrowMode, metrics::Holdings, store::Store};

/// Answers calls, on one store.
pub struct Gate {
    store: Arc<StoreClient>,
    held: Arc<HeldLeases>,
    leases: Arc<Leases>,
    run_records: Arc<RunRecords>,
    expiry: Arc<Expiry>,
    reservations: Reservations,
    settlements: Arc<Settlements>,
    runs: Runs,
    administration: Administration,
    listings: Listings,
    sweeper: Sweeper,
    draining: Draining,
}

impl Gate {
    /// Opens a gate on a store. Writes what the store lacks of the seed.
    ///
    /// # Errors
    /// The store's, if the catalogue cannot be fetched or the seed cannot be written.
    pub async fn open(store: Store, mut options: GateOptions) -> Result<Arc<Self>, GateError> {
        if !matches!(store, Store::Redis(_)) && options.escrow.mode == EscrowMode::Auto {
            options.escrow.mode = EscrowMode::Off;
        }
        let (metrics, traces) = (&options.metrics, &options.traces);
        let held = Arc::new(HeldLeases::new(options.escrow.clone(), Arc::clone(metrics)));
        let store = Arc::new(StoreClient::open(store, &options, Arc::clone(&held)).await?);
        let leases = Arc::new(Leases::new(Arc::clone(&store), Arc::clone(&held)));
        let run_records = Arc::new(RunRecords::new(Arc::clone(&store), Arc::clone(&held)));
        let recent = Arc::new(RecentReservations::default());
        let decisions = Arc::new(Decisions::new(Arc::clone(metrics), traces.clone()));
        let expiry =
            Arc::new(Expiry::new(Arc::clone(&store), Arc::clone(&held), Arc::clone(&recent), Arc::clone(&decisions)));
        let obstacles = Arc::new(Obstacles::new(Arc::clone(&store), Arc::clone(&expiry), Arc::clone(&leases)));
        let draining = Draining::default();
        let gate = Self {
            reservations: Reservations {
                store: Arc::clone(&store),
                held: Arc::clone(&held),
                leases: Arc::clone(&leases),
                run_records: Arc::clone(&run_records),
                obstacles: Arc::clone(&obstacles),
                recent: Arc::clone(&recent),
                decisions: Arc::clone(&decisions),
                draining: draining.clone(),
            },
            settlements: Arc::new(Settlements {
                store: Arc::clone(&store),
                held: Arc::clone(&held),
                obstacles: Arc::clone(&obstacles),
                recent,
                decisions: Arc::clone(&decisions),
                traces: traces.clone(),
                tasks: TaskTracker::new(),
            }),
            runs: Runs {
                store: Arc::clone(&store),
                records: Arc::clone(&run_records),
                obstacles,
                decisions: Arc::clone(&decisions),
                draining: draining.clone(),
            },
            administration: Administration::new(Arc::clone(&store), Arc::clone(&leases)),
            listings: Listings::new(Arc::clone(&store)),
            sweeper: Sweeper::new(Arc::clone(&store), Arc::clone(&expiry), decisions),
            store,
            held,
            leases,
            run_records,
            expiry,
            draining,
        };
        gate.administration.apply_seed(options.seed).await?;
        Ok(Arc::new(gate))
    }

    /// Refuses new reservations and runs with [`GateError::Draining`] from now on.
    pub fn begin_drain(&self) {
        self.draining.begin();
    }

    /// Returns whether calls can be decided now: by the store, or, while it is away, from held leases that can still be
    /// priced.
    pub fn can_decide(&self) -> bool {
        let is_up = self.store.health().borrow().is_up();
        is_up || (self.held.escrow.has_any_lease() && self.store.has_fresh_catalogue())
    }

    /// Returns the leases and the open reservations that are held in memory now.
    pub fn holdings(&self) -> Holdings {
        self.held.holdings()
    }

    /// Waits until the commits, releases and requests for leases in flight are done.
    pub async fn settled(&self) {
        self.settlements.done().await;
        self.leases.requests_done().await;
    }

    /// Does the work of the background until the token is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let loops = async {
            tokio::join!(
                self.store.keep_catalogue_fresh(),
                self.sweeper.sweep_due_forever(),
                self.sweeper.sweep_all_forever(),
                self.leases.tend_forever(),
                self.run_records.record_forever(),
            )
        };
        stop.run_until_cancelled(loops).await;
    }

    /// Sweeps all teams once: expires due holds, and deletes old cycles. The background does this every minute.
    ///
    /// # Errors
    /// The store cannot be reached, or is overloaded. The teams that were not visited wait for the next sweep.
    pub async fn sweep(&self) -> Result<(), GateError> {
        self.sweeper.sweep_all().await
    }

    /// Gives back the leases that were called back after `since_ms` of the store, in Unix milliseconds, and those that
    /// are no longer needed. Returns the `since_ms` of the next call. The background does this every 100 ms.
    pub async fn tend_leases(&self, since_ms: i64) -> i64 {
        self.leases.tend(since_ms).await
    }

    /// Records the runs that began in memory and wait to be recorded. The background does this within some ten
    /// milliseconds of a run's first call.
    pub async fn record_waiting_runs(&self) {
        self.run_records.record_waiting().await;
    }

    /// Expires the reservations that were opened from leases here and whose holds have run out. The background does
    /// this every second.
    pub async fn expire_opened(&self) {
        self.expiry.expire_opened().await;
    }

    /// Gives all leases back, and writes records of the reservations that were opened from them, so that every sidecar
    /// knows these. To be called once no more calls are decided.
    pub async fn give_everything_back(&self) {
        self.leases.give_everything_back().await;
    }
}
