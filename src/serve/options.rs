//! How to start a sidecar.

use std::time::Duration;

use super::{access::Access, limits::Limits};
use crate::{
    address::ListenAddress,
    clock::Clock,
    domain::{policy::Policy, seed::Seed},
    escrow::EscrowOptions,
    store::{StoreLocation, StoreOptions},
};

/// How to start a sidecar.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Address of the data listener, where executors call QuotaService.
    pub listen: ListenAddress,
    /// Address of the admin listener, where billing and operators call AccountService and UsageService.
    pub admin: ListenAddress,
    /// Address of the probe listener, where the kubelet and Prometheus read health and metrics in plaintext. `None` means no such
    /// listener.
    pub probe: Option<ListenAddress>,
    /// Which clients may connect, and what they may ask for.
    pub access: Access,
    /// Location of the store.
    pub store: StoreLocation,
    /// Maximum number of teams with metrics of their own.
    pub metrics_teams: u32,
    /// URL of an OTLP collector for spans. `None` means that no spans are made.
    pub otlp_endpoint: Option<String>,
    /// Limits of the data listener and of the admin listener, each for itself.
    pub limits: Limits,
    /// How long a call waits for the store.
    pub store_wait: Duration,
    /// How long a start waits for a store that cannot be reached.
    pub store_start_wait: Duration,
    /// How long [`Sidecar::withdraw`](super::Sidecar::withdraw) keeps serving after it reports NOT_SERVING.
    pub drain_delay: Duration,
    /// Settings of the rules.
    pub policy: Policy,
    /// Plans, rate cards and teams that are written to the store where it has none.
    pub seed: Seed,
    /// Whether and how calls are answered from leases in memory.
    pub escrow: EscrowOptions,
    /// Clock of the gate, and of a store in this process.
    pub clock: Clock,
    /// Whether to refuse a Redis server that does not log its changes to disk.
    pub require_aof: bool,
    /// Whether to make three demo teams, if the store is in this process and neither it nor the seed has teams.
    pub demo_teams: bool,
}

impl Default for ServeOptions {
    /// Returns the options of a sidecar on two free ports of this machine, with an empty store in memory.
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
            store_start_wait: Duration::from_secs(30),
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
