//! The way to the server that calls take: a connection that was found fit, or none.
//!
//! A call that finds the way broken says so here, and from then on every call is refused at once; only the watcher
//! (`watcher.rs`) puts a new connection in its place. So no caller waits for a server that is known to be away, and no call
//! goes to one that was not looked at.

use std::{
    error::Error,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

use super::{
    super::{
        error::StoreError,
        health::{HealthReporter, StoreHealth},
    },
    server_failure::Trouble,
};

/// The way to the server, and whether it can be taken.
pub(super) struct Link {
    way: RwLock<Way>,
    health: HealthReporter,
    /// Wakes the watcher.
    trouble: Notify,
    /// Whether the server takes keys of several scopes in one call.
    together: AtomicBool,
}

struct Way {
    connection: Option<MultiplexedConnection>,
    /// Which connection it is, so that the failure of an old one does not end a new one.
    generation: u64,
}

impl Link {
    /// By a connection to a server that was found fit. Its name must not have a password.
    pub(super) fn by(connection: MultiplexedConnection, store: String) -> Self {
        let way = RwLock::new(Way { connection: Some(connection), generation: 0 });
        Self { way, health: HealthReporter::up(store), trouble: Notify::new(), together: AtomicBool::default() }
    }

    /// Whether the server takes keys of several scopes in one call, as far as is known.
    pub(super) fn takes_scopes_together(&self) -> bool {
        self.together.load(Ordering::Relaxed)
    }

    /// A trial showed whether it does.
    pub(super) fn learn(&self, takes_scopes_together: bool) {
        self.together.store(takes_scopes_together, Ordering::Relaxed);
    }

    /// The connection to take, and which one it is; at once an error if there is none.
    pub(super) fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        match &way.connection {
            Some(connection) => Ok((connection.clone(), way.generation)),
            None => Err(StoreError::unavailable(match self.health.now() {
                StoreHealth::Down { reason, .. } | StoreHealth::RefusesChanges { reason, .. } => reason,
                StoreHealth::Up => "it was lost",
            })),
        }
    }

    pub(super) fn health(&self) -> StoreHealth {
        self.health.now()
    }

    pub(super) fn watch(&self) -> watch::Receiver<StoreHealth> {
        self.health.watch()
    }

    /// A call by the connection of that generation met this.
    pub(super) fn met(&self, generation: u64, trouble: Trouble, cause: &dyn Error) {
        let mut way = self.way.write().unwrap_or_else(PoisonError::into_inner);
        if way.generation != generation || way.connection.is_none() {
            return;
        }
        match trouble {
            Trouble::Lost(reason) => {
                way.connection = None;
                self.health.down(reason, Some(cause));
            }
            Trouble::RefusesChanges(reason) => self.health.refuses_changes(reason, Some(cause)),
        }
        self.trouble.notify_one();
    }

    /// An attempt to find the way again met this.
    pub(super) fn still(&self, reason: &'static str, cause: &dyn Error) {
        self.health.down(reason, Some(cause));
    }

    /// Calls can take this connection from now on; it may be that changes are refused yet.
    pub(super) fn lead_by(&self, connection: MultiplexedConnection, refused: Option<(&'static str, &dyn Error)>) {
        let mut way = self.way.write().unwrap_or_else(PoisonError::into_inner);
        *way = Way { connection: Some(connection), generation: way.generation + 1 };
        match refused {
            Some((reason, cause)) => self.health.refuses_changes(reason, Some(cause)),
            None => self.health.back(),
        }
    }

    /// Changes are carried out again.
    pub(super) fn takes_changes(&self) {
        let way = self.way.write().unwrap_or_else(PoisonError::into_inner);
        if way.connection.is_some() {
            self.health.back();
        }
    }

    /// Waits until a call met trouble since this was last asked.
    pub(super) async fn troubled(&self) {
        self.trouble.notified().await;
    }
}
