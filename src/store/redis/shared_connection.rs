//! The connection that all calls share, and whether it can be used.
//!
//! A call that finds the connection broken reports that here. From then on every call fails at once; only the watcher
//! (`watcher.rs`) puts a new connection in place. So no caller waits for a server that is known to be away, and no call
//! goes to a server that was not checked.
//!
//! A call whose answer is late reports that here too. The connection stays in use, and the watcher examines the cause.

use std::{
    error::Error,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::{
    super::{
        error::StoreError,
        health::{HealthReporter, StoreHealth},
    },
    connect::ServerConnection,
    server_failure::ServerFailure,
};

/// Maximum number of late answers of one connection. Together with the calls that still wait, it bounds the requests
/// without an answer. A connection with more of them counts as lost.
const MAX_LATE_ANSWERS: usize = 1024;

/// The reason that is given when the server answers on another connection, but not on the shared one.
pub(super) const CONNECTION_HANGS: &str = "the connection to it hangs";

/// The connection to the server, its health, and what the server accepts.
pub(super) struct SharedConnection {
    current: RwLock<CurrentConnection>,
    health: HealthReporter,
    /// Wakes the watcher.
    failure: Notify,
    /// Whether the server accepts keys of several scopes in one call.
    accepts_several_scopes: AtomicBool,
}

struct CurrentConnection {
    /// `None` while the server is away.
    connection: Option<ServerConnection>,
    /// Number of the connection. A failure that is reported with an older number is ignored, so that the failure of an
    /// old connection does not end a new one.
    generation: u64,
    /// Number of late answers that are not known to have arrived since.
    late_answers: usize,
}

impl SharedConnection {
    /// Shares a connection to a server that passed its checks. `store` is the name for the log and must not contain a
    /// password.
    pub(super) fn new(connection: ServerConnection, store: String) -> Self {
        Self {
            current: RwLock::new(CurrentConnection { connection: Some(connection), generation: 0, late_answers: 0 }),
            health: HealthReporter::up(store),
            failure: Notify::new(),
            accepts_several_scopes: AtomicBool::default(),
        }
    }

    /// Returns whether the server accepts keys of several scopes in one call, as far as is known.
    pub(super) fn accepts_several_scopes(&self) -> bool {
        self.accepts_several_scopes.load(Ordering::Relaxed)
    }

    /// Records whether the server accepts keys of several scopes in one call.
    pub(super) fn set_accepts_several_scopes(&self, accepts: bool) {
        self.accepts_several_scopes.store(accepts, Ordering::Relaxed);
    }

    /// Returns the connection and its generation.
    ///
    /// # Errors
    /// At once, if the server is away.
    pub(super) fn get(&self) -> Result<(ServerConnection, u64), StoreError> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match &current.connection {
            Some(connection) => Ok((connection.clone(), current.generation)),
            None => Err(StoreError::unavailable(match self.health.now() {
                StoreHealth::Down { reason, .. } | StoreHealth::RefusesChanges { reason, .. } => reason,
                StoreHealth::Up => "the connection to it failed",
            })),
        }
    }

    pub(super) fn health(&self) -> StoreHealth {
        self.health.now()
    }

    pub(super) fn watch_health(&self) -> watch::Receiver<StoreHealth> {
        self.health.watch()
    }

    /// Reports that a call on the connection of this generation failed, and wakes the watcher.
    pub(super) fn report_failure(&self, generation: u64, failure: ServerFailure, cause: &dyn Error) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation || current.connection.is_none() {
            return;
        }
        match failure {
            ServerFailure::ConnectionLost(reason) => {
                (current.connection, current.late_answers) = (None, 0);
                self.health.down(reason, Some(cause));
            }
            ServerFailure::WritesRefused(reason) => self.health.refuses_changes(reason, Some(cause)),
        }
        self.failure.notify_one();
    }

    /// Reports that an answer on the connection of this generation is late, and wakes the watcher.
    pub(super) fn report_late_answer(&self, generation: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation || current.connection.is_none() {
            return;
        }
        current.late_answers += 1;
        if current.late_answers > MAX_LATE_ANSWERS {
            (current.connection, current.late_answers) = (None, 0);
            self.health.down(CONNECTION_HANGS, None);
        }
        self.failure.notify_one();
    }

    /// Returns the number of late answers that are not known to have arrived since.
    pub(super) fn late_answers(&self) -> usize {
        self.current.read().unwrap_or_else(PoisonError::into_inner).late_answers
    }

    /// Reports that this number of late answers of the connection of this generation have arrived since.
    pub(super) fn report_late_answers_arrived(&self, generation: u64, count: usize) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            current.late_answers = current.late_answers.saturating_sub(count);
        }
    }

    /// Reports that an attempt to reconnect failed.
    pub(super) fn report_failed_probe(&self, reason: &'static str, cause: &dyn Error) {
        self.health.down(reason, Some(cause));
    }

    /// Puts a new connection in place. `refused` is set if the server still refuses writes.
    pub(super) fn replace(&self, connection: ServerConnection, refused: Option<(&'static str, &dyn Error)>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        *current = CurrentConnection { connection: Some(connection), generation, late_answers: 0 };
        match refused {
            Some((reason, cause)) => self.health.refuses_changes(reason, Some(cause)),
            None => self.health.back(),
        }
    }

    /// Reports that the server carries out writes again.
    pub(super) fn report_writable(&self) {
        let current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.connection.is_some() {
            self.health.back();
        }
    }

    /// Waits until a call has reported a failure or a late answer since the last wait.
    pub(super) async fn wait_for_failure(&self) {
        self.failure.notified().await;
    }
}
