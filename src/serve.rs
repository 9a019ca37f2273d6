//! A sidecar: its listeners, a gate and a store, from start to shutdown.
//!
//! This module puts the parts together. It decides which services each listener has, and in which order the parts start and stop.
//! It must not know any rule about credits.
//!
//! Where to look:
//!
//! - `listeners`: addresses, accepting connections, services, the probe listener
//! - `connections`: their bytes, their state, eviction, timeouts
//! - `calls`: admission, timeout and response of one call
//! - `fast_path`: the shorter way of QuotaService's calls
//! - `access`: TLS, the token, and which client may ask for which teams
//! - `lifecycle`: the startup banner, health, shutdown

mod access;
mod call_timeout;
mod calls;
mod connections;
mod error;
mod fast_path;
mod lifecycle;
mod limits;
mod listeners;
mod log_throttle;
mod options;

use std::{fmt, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    access::LoadedAccess,
    connections::{Eviction, Protocol},
    lifecycle::{Health, demo, open_store, with_retries},
    listeners::{Listener, ListenerServer, Probe, ProbeListener, Reach, file_descriptors, services},
};
pub use self::{
    access::{Access, AccessError, Clients, TlsFiles},
    error::{ListenError, StartError},
    lifecycle::StartupBanner,
    limits::Limits,
    options::ServeOptions,
};
use crate::{
    address::ListenAddress,
    gate::{Gate, GateOptions},
    metrics::Metrics,
    store::{Store, StoreOptions},
    traces::Traces,
};

/// A running sidecar. If it is dropped without [`Sidecar::shutdown`], it stops at once, as if it had crashed.
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
    /// Stops accepting connections. Calls in flight finish.
    accepting: CancellationToken,
    /// Stops the background tasks.
    background: CancellationToken,
    servers: JoinSet<()>,
    /// Closes every connection, and cancels the two above, when this sidecar is dropped.
    everything: DropGuard,
}

impl Sidecar {
    /// Binds the listeners, opens the store, and starts to serve. A store that cannot be reached is waited for. The probe listener
    /// answers before the store is open: alive and not ready.
    ///
    /// # Errors
    /// Fails if a listener cannot be bound, if the store cannot be reached in time, or if it may lose credits.
    pub async fn start(options: ServeOptions) -> Result<Self, StartError> {
        let listeners = BoundListeners::open(&options).await?;
        let store_options =
            StoreOptions { clock: options.clock.clone(), require_aof: options.require_aof, wait: options.store_wait };
        let store = open_store(&options.store, &store_options, options.store_start_wait).await?;
        Self::serve(listeners, store, options).await
    }

    /// Starts with a store that is already open. `store` and `require_aof` of the options then only affect the startup banner.
    ///
    /// # Errors
    /// Fails like [`Sidecar::start`].
    pub async fn start_with(store: Store, options: ServeOptions) -> Result<Self, StartError> {
        let listeners = BoundListeners::open(&options).await?;
        Self::serve(listeners, store, options).await
    }

    /// Returns the address of the data listener, with the port that was bound if the configured port is 0.
    pub fn listen_address(&self) -> &ListenAddress {
        &self.listen
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> &ListenAddress {
        &self.admin
    }

    /// Returns the address of the probe listener, if there is one.
    pub fn probe_address(&self) -> Option<&ListenAddress> {
        self.probe.as_ref().map(Probe::address)
    }

    /// Returns the gate behind the listeners.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Returns the lines to print after the start.
    pub fn startup_banner(&self) -> &StartupBanner {
        &self.banner
    }

    /// Waits until a part of the sidecar ends that should not end before [`Sidecar::shutdown`]. The sidecar cannot serve any more
    /// then.
    pub async fn broken(&mut self) {
        self.servers.join_next().await;
    }

    async fn serve(listeners: BoundListeners, store: Store, options: ServeOptions) -> Result<Self, StartError> {
        let BoundListeners { data, admin, guards, probe, health, metrics, traces } = listeners;
        let demo_teams = options.demo_teams && options.seed.teams.is_empty() && demo::is_allowed_on(&options.store);
        let gate_options = GateOptions {
            policy: options.policy,
            clock: options.clock,
            seed: options.seed,
            escrow: options.escrow,
            metrics: Arc::clone(metrics.gate()),
            traces: traces.clone(),
        };
        let gate = with_retries(|| Gate::open(store.clone(), gate_options.clone())).await?;
        let weak_gate = Arc::downgrade(&gate);
        metrics.gate().read_holdings_from(move || weak_gate.upgrade().map(|gate| gate.holdings()).unwrap_or_default());
        let teams = if demo_teams { demo::make_teams_if_none(&gate).await? } else { demo::find_teams(&gate).await? };
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
        let server = ListenerServer {
            accepting: accepting.clone(),
            everything: everything.clone(),
            limits,
            protocol: Protocol::Http2,
            eviction: Eviction::LowestRank,
            connections: connections.clone(),
            // Without a probe listener, no client can read the metrics of calls.
            metrics: probe.is_some().then(|| Arc::clone(metrics.calls())),
            traces: traces.clone(),
        };
        servers.spawn(server.serve(data_services, data));
        servers.spawn(server.serve(admin_services, admin));
        servers.spawn(guards.reload_changed_files(background.clone()));
        spawn_background(&mut servers, &gate, &store, &health, &background);
        health.set_ready(gate.can_decide()).await;
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

/// Starts the tasks of the gate, of the store, and of health, which end when `stop` is cancelled.
fn spawn_background(
    tasks: &mut JoinSet<()>,
    gate: &Arc<Gate>,
    store: &Store,
    health: &Arc<Health>,
    stop: &CancellationToken,
) {
    let (running_gate, stop_gate) = (Arc::clone(gate), stop.clone());
    tasks.spawn(async move { running_gate.run(stop_gate).await });
    let (running_store, stop_store) = (store.clone(), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = running_store.ended() => tracing::error!("the store stopped unexpectedly"),
            () = stop_store.cancelled() => {}
        }
    });
    let (health, gate, store, stop) = (Arc::clone(health), Arc::clone(gate), store.clone(), stop.clone());
    tasks.spawn(async move {
        // Shutdown reports the last state itself.
        stop.run_until_cancelled(health.follow(&gate, &store)).await;
    });
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, admin, .. } = self;
        formatter.debug_struct("Sidecar").field("listen", listen).field("admin", admin).finish_non_exhaustive()
    }
}

/// The bound listeners, before the gate is open. The probe listener answers already.
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
        file_descriptors::raise_limit(&options.limits);
        let guards = LoadedAccess::read(&options.access, [&options.listen, &options.admin], &options.clock).await?;
        let is_guarded = options.access.lets_admin_beyond_this_machine();
        let reach = if is_guarded { Reach::Anywhere } else { Reach::ThisMachine };
        let data = Listener::bind(&options.listen, Reach::Anywhere).await?.with_tls(guards.data_tls.clone());
        data.warn_if_open();
        let admin = Listener::bind(&options.admin, reach).await?.with_tls(guards.admin_tls.clone());
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
    use crate::store::StoreLocation;

    #[tokio::test]
    async fn a_sidecar_breaks_when_its_store_stops() {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::Embedded(directory.path().to_owned());
        let store = Store::open(&location, StoreOptions::default()).await.unwrap();
        let mut sidecar = Sidecar::start_with(store.clone(), ServeOptions::default()).await.unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, sidecar.broken()).await.is_err(), "it is not broken before");
        store.close().await;
        tokio::time::timeout(Duration::from_secs(5), sidecar.broken()).await.unwrap();
        sidecar.shutdown().await;
    }
}
