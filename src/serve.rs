//! A sidecar: its listeners, a gate and a store, from their start to an orderly end.
//!
//! It puts the parts together and knows what none of them does: which service is on which listener, and in which order they
//! stop. It must know no rule of the product.

mod access;
mod calls;
mod connections;
mod error;
mod fast_path;
mod lifecycle;
mod limits;
mod listeners;
mod log_throttle;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    access::LoadedAccess,
    lifecycle::{Health, demo, patiently},
    listeners::{Listener, ListenerServer, Probe, ProbeListener, Reach, file_descriptors, services},
};
pub use self::{
    access::{Access, AccessError, Clients, TlsFiles},
    error::{ListenError, StartError},
    lifecycle::StartupBanner,
    limits::Limits,
};
use crate::{
    address::ListenAddress,
    clock::Clock,
    domain::{policy::Policy, seed::Seed},
    escrow::EscrowOptions,
    gate::{Gate, GateOptions},
    metrics::Metrics,
    store::{Store, StoreLocation, StoreOptions},
    traces::Traces,
};

/// How a sidecar is started.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where executors reach QuotaService.
    pub listen: ListenAddress,
    /// Where billing and operators reach AccountService and UsageService.
    pub admin: ListenAddress,
    /// Where the kubelet and Prometheus reach health and metrics in plaintext; nowhere if it is not said.
    pub probe: Option<ListenAddress>,
    /// Who is let in.
    pub access: Access,
    /// Where the credits are kept.
    pub store: StoreLocation,
    /// So many teams have metrics of their own at most.
    pub metrics_teams: u32,
    /// The URL of a collector that spans are sent to; nowhere if it is not said.
    pub otlp_endpoint: Option<String>,
    /// What each listener lets in.
    pub limits: Limits,
    /// How long a call waits for the store.
    pub store_wait: Duration,
    /// For how long [`Sidecar::withdraw`] still serves everything.
    pub drain_delay: Duration,
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
            probe: None,
            access: Access::default(),
            metrics_teams: 0,
            otlp_endpoint: None,
            store: StoreLocation::Memory,
            limits: Limits::default(),
            store_wait: StoreOptions::default().wait,
            drain_delay: Duration::from_secs(5),
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
    banner: StartupBanner,
    gate: Arc<Gate>,
    store: Store,
    traces: Option<Arc<Traces>>,
    health: Arc<Health>,
    probe: Option<Probe>,
    drain_delay: Duration,
    connections: TaskTracker,
    /// Ends accepting; calls in flight finish.
    accepting: CancellationToken,
    /// Ends what is done in the background.
    background: CancellationToken,
    servers: JoinSet<()>,
    /// Ends every connection, and the two above, if this sidecar is dropped.
    everything: DropGuard,
}

impl Sidecar {
    /// Binds its listeners, opens the store, and serves. Probes are answered before that: it lives, and is not ready.
    ///
    /// # Errors
    /// If an address cannot be listened on, or the store cannot be opened, or is not fit to keep credits.
    pub async fn start(options: ServeOptions) -> Result<Self, StartError> {
        let listeners = BoundListeners::open(&options).await?;
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
        let listeners = BoundListeners::open(&options).await?;
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

    /// Where probes reach it, if it listens for them.
    pub fn probe_address(&self) -> Option<&ListenAddress> {
        self.probe.as_ref().map(Probe::address)
    }

    /// What decides behind its listeners.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The lines to show whoever started it.
    pub fn startup_banner(&self) -> &StartupBanner {
        &self.banner
    }

    /// Waits until something ends that should not before [`Sidecar::shutdown`]: the sidecar is of no use then.
    pub async fn broken(&mut self) {
        self.servers.join_next().await;
    }

    async fn serve(listeners: BoundListeners, store: Store, options: ServeOptions) -> Result<Self, StartError> {
        let BoundListeners { data, admin, guards, probe, health, metrics, traces } = listeners;
        let demo_teams = options.demo_teams && options.seed.teams.is_empty() && demo::suits(&options.store);
        let gate_options = GateOptions {
            policy: options.policy,
            clock: options.clock,
            seed: options.seed,
            escrow: options.escrow,
            metrics: Arc::clone(metrics.gate()),
            traces: traces.clone(),
        };
        let gate = patiently(|| Gate::open(store.clone(), gate_options.clone())).await?;
        let looked_at = Arc::downgrade(&gate);
        metrics.gate().look_by(move || looked_at.upgrade().map(|gate| gate.holdings()).unwrap_or_default());
        let teams = if demo_teams { demo::make_teams_if_none(&gate).await? } else { demo::look(&gate).await? };
        let everything = CancellationToken::new();
        let accepting = everything.child_token();
        let background = everything.child_token();
        let limits = options.limits;
        let mut banner =
            StartupBanner::new(data.address(), admin.address(), &options.access, &options.store, &store, teams);
        banner.probe = probe.as_ref().map(|probe| probe.address().clone());
        let [listen_address, admin_address] = [data.address().clone(), admin.address().clone()];

        let mut servers = JoinSet::new();
        let data_services = services::data(&gate, health.data.server(), &limits)?;
        let admin_services = services::admin(&gate, health.admin.server(), &limits, guards.admin_token.clone())?;
        let connections = TaskTracker::new();
        let listening = ListenerServer {
            accepting: accepting.clone(),
            everything: everything.clone(),
            limits,
            connections: connections.clone(),
            // Without a listener that tells of them, calls are not timed.
            metrics: probe.is_some().then(|| Arc::clone(metrics.calls())),
            traces: traces.clone(),
        };
        servers.spawn(listening.serve(data_services, data));
        servers.spawn(listening.serve(admin_services, admin));
        servers.spawn(guards.keep_fresh(background.clone()));
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
        let (following, followed, kept, stop) =
            (Arc::clone(&health), Arc::clone(&gate), store.clone(), background.clone());
        servers.spawn(async move {
            // What it says last is said by whoever ends it.
            stop.run_until_cancelled(following.follow(&followed, &kept)).await;
        });
        health.can_decide(gate.can_decide()).await;
        Ok(Self {
            listen: listen_address,
            admin: admin_address,
            banner,
            gate,
            store,
            traces,
            health,
            probe,
            drain_delay: options.drain_delay,
            connections,
            accepting,
            background,
            servers,
            everything: everything.drop_guard(),
        })
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, admin, .. } = self;
        formatter.debug_struct("Sidecar").field("listen", listen).field("admin", admin).finish_non_exhaustive()
    }
}

/// The listeners before there is anything behind them. Probes are answered already.
struct BoundListeners {
    data: Listener,
    admin: Listener,
    guards: LoadedAccess,
    probe: Option<Probe>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
}

impl BoundListeners {
    async fn open(options: &ServeOptions) -> Result<Self, StartError> {
        file_descriptors::provide(&options.limits);
        let guards = LoadedAccess::read(&options.access, [&options.listen, &options.admin], &options.clock).await?;
        let is_guarded = options.access.lets_admin_beyond_this_machine();
        let reach = if is_guarded { Reach::Anywhere } else { Reach::ThisMachine };
        let data = Listener::bind(&options.listen, Reach::Anywhere).await?.speaking(guards.data_tls.clone());
        data.warn_of_strangers();
        let admin = Listener::bind(&options.admin, reach).await?.speaking(guards.admin_tls.clone());
        let metrics = Arc::new(Metrics::new(&options.store, options.metrics_teams)?);
        let health = Arc::new(Health::begin(Arc::clone(&metrics)).await);
        let probe = match &options.probe {
            Some(address) => {
                let listener = ProbeListener::bind(address).await?;
                Some(listener.serve(health.probe.server(), Arc::clone(&metrics)))
            }
            None => None,
        };
        let traces = options.otlp_endpoint.as_deref().map(Traces::begin).transpose()?.map(Arc::new);
        Ok(Self { data, admin, guards, probe, health, metrics, traces })
    }
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
