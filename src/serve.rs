//! A sidecar: two listeners, a gate and a store, from their start to an orderly end.
//!
//! It puts the parts together and knows what none of them does: which service is on which listener, and in which order they
//! stop. It must know no rule of the product.

mod address;
mod answer;
mod at_once;
mod call;
mod connection;
mod crowd;
mod demo;
mod descriptors;
mod drain;
mod error;
mod greeting;
mod limits;
mod listener;
mod listening;
mod own_wakes;
mod patience;
mod question;
mod room;
mod seldom;
mod services;
mod unix_socket;
mod vitals;
mod welcome;
mod workplace;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::server::{HealthReporter, health_reporter};

pub use self::{
    address::{InvalidAddress, ListenAddress},
    error::{ListenError, StartError},
    limits::Limits,
    welcome::Welcome,
};
use self::{
    listener::{Listener, Reach},
    listening::Listening,
    patience::patiently,
};
use crate::{
    clock::Clock,
    domain::{policy::Policy, seed::Seed},
    escrow::EscrowOptions,
    gate::{Gate, GateOptions},
    store::{Store, StoreLocation, StoreOptions},
};

/// How a sidecar is started.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where executors reach QuotaService.
    pub listen: ListenAddress,
    /// Where billing and operators reach AccountService and UsageService.
    pub admin: ListenAddress,
    /// Where the credits are kept.
    pub store: StoreLocation,
    /// What each listener lets in.
    pub limits: Limits,
    /// How long a call waits for the store.
    pub store_wait: Duration,
    /// Settings of the rules.
    pub policy: Policy,
    /// What the store is given where it has nothing.
    pub seed: Seed,
    /// Whether, and how, calls are answered from memory.
    pub escrow: EscrowOptions,
    /// The clock of the gate, and of a store in this process.
    pub clock: Clock,
    /// Refuse a Redis server that does not log its changes to disk.
    pub require_aof: bool,
    /// Make three teams to try, if the store is in this process and has none, and the seed has none either.
    pub demo_teams: bool,
}

impl Default for ServeOptions {
    /// A sidecar on two free ports of this machine, with a store in memory that has no teams.
    fn default() -> Self {
        let any_port = ListenAddress::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        Self {
            listen: any_port.clone(),
            admin: any_port,
            store: StoreLocation::Memory,
            limits: Limits::default(),
            store_wait: StoreOptions::default().wait,
            policy: Policy::default(),
            seed: Seed::default(),
            escrow: EscrowOptions::default(),
            clock: Clock::default(),
            require_aof: false,
            demo_teams: false,
        }
    }
}

/// A sidecar that serves. Dropped without [`Sidecar::shutdown`], it stops at once, as if it had crashed.
pub struct Sidecar {
    listen: ListenAddress,
    admin: ListenAddress,
    welcome: Welcome,
    gate: Arc<Gate>,
    store: Store,
    health: [(HealthReporter, &'static [&'static str]); 2],
    /// Ends accepting; calls in flight finish.
    accepting: CancellationToken,
    /// Ends what is done in the background.
    background: CancellationToken,
    servers: JoinSet<()>,
    /// Ends every connection, and the two above, if this sidecar is dropped.
    everything: DropGuard,
}

impl Sidecar {
    /// Binds both listeners, opens the store, and serves.
    ///
    /// # Errors
    /// If an address cannot be listened on, or the store cannot be opened, or is not fit to keep credits.
    pub async fn start(options: ServeOptions) -> Result<Self, StartError> {
        let listeners = bind(&options).await?;
        let store_options =
            StoreOptions { clock: options.clock.clone(), require_aof: options.require_aof, wait: options.store_wait };
        let store = Store::open(&options.store, store_options).await?;
        Self::serve(listeners, store, options).await
    }

    /// The same with a store that is open already; `store` and `require_aof` of the options are for the start-up lines only.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_with(store: Store, options: ServeOptions) -> Result<Self, StartError> {
        let listeners = bind(&options).await?;
        Self::serve(listeners, store, options).await
    }

    /// Where executors reach it: with the port that was bound, if any port would do.
    pub fn listen_address(&self) -> &ListenAddress {
        &self.listen
    }

    /// Where billing and operators reach it.
    pub fn admin_address(&self) -> &ListenAddress {
        &self.admin
    }

    /// The lines to show whoever started it.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Waits until something ends that should not before [`Sidecar::shutdown`]: the sidecar is of no use then.
    pub async fn broken(&mut self) {
        self.servers.join_next().await;
    }

    async fn serve(listeners: [Listener; 2], store: Store, options: ServeOptions) -> Result<Self, StartError> {
        let demo_teams = options.demo_teams && options.seed.teams.is_empty() && demo::suits(&options.store);
        let gate_options =
            GateOptions { policy: options.policy, clock: options.clock, seed: options.seed, escrow: options.escrow };
        let gate = patiently(|| Gate::open(store.clone(), gate_options.clone())).await?;
        let teams = if demo_teams { demo::make_teams_if_none(&gate).await? } else { demo::look(&gate).await? };
        let [data, admin] = listeners;
        let everything = CancellationToken::new();
        let accepting = everything.child_token();
        let background = everything.child_token();
        let limits = options.limits;
        let (data_health, data_health_server) = health_reporter();
        let (admin_health, admin_health_server) = health_reporter();
        let health = [(data_health, services::ON_DATA), (admin_health, services::ON_ADMIN)];
        let welcome = Welcome::new(data.address(), admin.address(), &options.store, &store, teams);
        let [listen_address, admin_address] = [data.address().clone(), admin.address().clone()];

        let mut servers = JoinSet::new();
        let data_services = services::data(&gate, data_health_server, &limits)?;
        let admin_services = services::admin(&gate, admin_health_server, &limits)?;
        let listening = Listening { accepting: accepting.clone(), everything: everything.clone(), limits };
        servers.spawn(listening.serve(data_services, data));
        servers.spawn(listening.serve(admin_services, admin));
        let worker = Arc::clone(&gate);
        let stop = background.clone();
        servers.spawn(async move { worker.run(stop).await });
        let (kept, stop) = (store.clone(), background.clone());
        servers.spawn(async move {
            tokio::select! {
                () = kept.ended() => tracing::error!("the store ended by itself"),
                () = stop.cancelled() => {}
            }
        });
        let sidecar = Self {
            listen: listen_address,
            admin: admin_address,
            welcome,
            gate,
            store,
            health,
            accepting,
            background,
            servers,
            everything: everything.drop_guard(),
        };
        sidecar.report_health(tonic_health::ServingStatus::Serving).await;
        Ok(sidecar)
    }

    async fn report_health(&self, status: tonic_health::ServingStatus) {
        for (reporter, services) in &self.health {
            for service in std::iter::once(&"").chain(*services) {
                reporter.set_service_status(service, status).await;
            }
        }
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, admin, .. } = self;
        formatter.debug_struct("Sidecar").field("listen", listen).field("admin", admin).finish_non_exhaustive()
    }
}

async fn bind(options: &ServeOptions) -> Result<[Listener; 2], StartError> {
    descriptors::provide(&options.limits);
    let data = Listener::bind(&options.listen, Reach::Anywhere).await?;
    let admin = Listener::bind(&options.admin, Reach::ThisMachine).await?;
    Ok([data, admin])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sidecar_whose_store_ended_is_of_no_use() {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::Embedded(directory.path().to_owned());
        let store = Store::open(&location, StoreOptions::default()).await.unwrap();
        let mut sidecar = Sidecar::start_with(store.clone(), ServeOptions::default()).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, sidecar.broken()).await.is_err(), "it is of use before");
        store.close().await;
        tokio::time::timeout(Duration::from_secs(5), sidecar.broken()).await.unwrap();
        sidecar.shutdown().await;
    }
}
