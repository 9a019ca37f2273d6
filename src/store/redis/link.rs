//! The connection to the server, and when to replace it.
//!
//! The connection manager reconnects by itself when a connection breaks. It does not when a call times out (a host that
//! vanished keeps its connection for many minutes), when its server became a replica, or when connecting failed for another
//! reason than the network. Then this module puts a new one in its place.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{
    super::{error::OpenError, location::StoreLocation},
    server,
};
use crate::clock::Clock;

/// Long enough for a TLS handshake with a server in the same region that is busy, short enough to tell a caller in time.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A script takes well under a millisecond; a server that is a second behind is as good as gone for a caller that waits to
/// call a model.
const RESPONSE_LIMIT: Duration = Duration::from_secs(1);

/// Between two new connections: a server that refuses each of them must not be flooded with them.
const RENEWAL_PAUSE_MS: i64 = 100;

/// The connection, and how to make another.
pub(super) struct Link {
    client: Client,
    current: RwLock<(ConnectionManager, u64)>,
    renewed_ms: AtomicI64,
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(RESPONSE_LIMIT))
        // Each call that finds no connection tries once; more would make it wait for longer than its caller does.
        .set_number_of_retries(0)
}

impl Link {
    pub(super) async fn open(url: &str, location: &StoreLocation) -> Result<Self, OpenError> {
        if url.starts_with("rediss:") {
            // It fails only if there is a provider already, which then serves.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let refuse = |error| {
            server::refuses_login(&error, location).unwrap_or_else(|| {
                OpenError::because(format!("{location} cannot be reached. Is it up, and is the URL right?"), error)
            })
        };
        let client = Client::open(url).map_err(refuse)?;
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await.map_err(refuse)?;
        Ok(Self { client, current: RwLock::new((manager, 0)), renewed_ms: AtomicI64::new(i64::MIN) })
    }

    pub(super) fn connection(&self) -> ConnectionManager {
        self.connection_and_generation().0
    }

    /// The connection, and which one it is.
    pub(super) fn connection_and_generation(&self) -> (ConnectionManager, u64) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the connection of that generation; nothing happens if it is replaced already, or another was just now.
    pub(super) fn renew(&self, generation: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let now_ms = Clock::System.monotonic_ms();
        let paused = now_ms.saturating_sub(self.renewed_ms.load(Ordering::Relaxed)) >= RENEWAL_PAUSE_MS;
        if current.1 != generation || !paused {
            return;
        }
        // It connects when it is first used, under that call's own bound.
        match ConnectionManager::new_lazy_with_config(self.client.clone(), config()) {
            Ok(manager) => {
                *current = (manager, generation + 1);
                self.renewed_ms.store(now_ms, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no new connection to the store");
            }
        }
    }
}
