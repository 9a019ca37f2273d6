//! What a server must be configured to do before it may keep credits, and which answers survive its crash.

use redis::{ErrorKind, InfoDict, RedisError, aio::MultiplexedConnection};

use super::{
    super::{
        error::{OpenError, StoreError},
        location::StoreLocation,
    },
    server_failure::{ServerFailure, is_permission_denied},
};

const ALWAYS: &str = "each answer is in the append-only file of Redis before it is given";
const EVERY_SECOND: &str =
    "Redis writes its append-only file every second: a crash of its machine can lose about the last second of answers";
const NOT_SYNCED: &str = "Redis leaves it to the operating system when to write its append-only file: a crash of its machine can \
                          lose the last half minute of answers";
const AOF_UNKNOWN: &str =
    "Redis writes an append-only file, but does not report how often: a crash of its machine can lose the last answers";
const SNAPSHOTS: &str = "Redis writes no append-only file: a crash can lose every answer since its last snapshot";
const UNKNOWN: &str = "Redis does not report whether its records survive a crash";

/// The requirements on a server.
#[derive(Clone)]
pub(super) struct ServerRequirements {
    /// The server's location, for messages.
    pub(super) location: StoreLocation,
    /// Whether the server must write an append-only file.
    pub(super) require_aof: bool,
}

/// The configuration that a server reports.
pub(super) struct ServerConfiguration {
    reports_policy: bool,
    /// Whether the append-only file is on. `None` if the server does not report it.
    aof: Option<bool>,
}

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnfitServer {
    /// Its configuration has to be changed.
    #[error("{advice}")]
    Misconfigured {
        /// What is wrong, fit for a client.
        reason: &'static str,
        /// What is wrong and what to do, for the operator.
        advice: String,
    },
    /// It did not report its configuration.
    #[error(transparent)]
    NoReport(#[from] RedisError),
}

impl ServerRequirements {
    /// Refuses a server that can evict records, a replica, and on demand a server without an append-only file.
    pub(super) async fn check(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<ServerConfiguration, UnfitServer> {
        let Self { location, require_aof } = self;
        // Without a section's name, INFO returns all sections that are needed here, in every version of Redis.
        let info: Option<InfoDict> = match redis::cmd("INFO").query_async(connection).await {
            Ok(info) => Some(info),
            Err(error) if error.code() == Some("NOPERM") => None,
            Err(error) => return Err(error.into()),
        };
        let reported = |name: &str| info.as_ref().and_then(|info| info.get::<String>(name));
        if reported("role").is_some_and(|role| role != "master") {
            return Err(UnfitServer::Misconfigured {
                reason: "its server is a replica",
                advice: format!(
                    "{location} is a replica, whose records its primary replaces. Name the primary instead."
                ),
            });
        }
        let policy = reported("maxmemory_policy");
        if let Some(policy) = policy.as_deref().filter(|policy| *policy != "noeviction") {
            return Err(UnfitServer::Misconfigured {
                reason: "its server may evict records",
                advice: format!(
                    "{location} has maxmemory-policy {policy} and would silently drop credits when its memory is full. \
                     Set maxmemory-policy to noeviction, or use a separate server for Tollgate."
                ),
            });
        }
        let aof = reported("aof_enabled").map(|enabled| enabled == "1");
        if *require_aof && aof != Some(true) {
            let durability = without_aof(aof);
            return Err(UnfitServer::Misconfigured {
                reason: "its server keeps no append-only file",
                advice: format!(
                    "An append-only file is required, and {durability} ({location}). Set appendonly to yes, or do not require it."
                ),
            });
        }
        Ok(ServerConfiguration { reports_policy: policy.is_some(), aof })
    }

    /// Returns what to do about an error that does not pass by itself: a missing permission or a wrong password.
    pub(super) fn advice(&self, error: &RedisError) -> Option<String> {
        if error.code() == Some("NOPERM") {
            return Some(self.permission_advice(error.detail().unwrap_or_default()));
        }
        login_error(error, &self.location).map(|refusal| refusal.to_string())
    }

    /// Returns the same for an error that the server returned to a transaction.
    pub(super) fn advice_for_transaction(&self, error: &StoreError) -> Option<String> {
        let StoreError::Unavailable { source: Some(cause), .. } = error else { return None };
        let message = cause.to_string();
        is_permission_denied(&message).then(|| self.permission_advice(&message))
    }

    fn permission_advice(&self, detail: &str) -> String {
        let Self { location, .. } = self;
        format!(
            "{location} does not permit its user a command that Tollgate needs ({detail}). README.md lists the commands."
        )
    }
}

impl ServerConfiguration {
    /// Returns which answers survive a crash of the server. Logs a warning if some do not, or if the server does not
    /// report whether it evicts records.
    pub(super) async fn durability(
        &self,
        connection: &mut MultiplexedConnection,
        store: &StoreLocation,
    ) -> &'static str {
        if !self.reports_policy {
            tracing::warn!(%store, "the server does not report its maxmemory-policy, which must be noeviction");
        }
        if self.aof == Some(true) {
            return sync_policy(connection).await;
        }
        let durability = without_aof(self.aof);
        tracing::warn!(%store, durability, "the server can lose credits in a crash");
        durability
    }
}

impl UnfitServer {
    /// Returns what is wrong, fit for a client.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Misconfigured { reason, .. } => reason,
            Self::NoReport(error) => ServerFailure::from_error(error)
                .map_or("its server does not report its configuration", ServerFailure::reason),
        }
    }

    /// Returns the error for the operator who starts the sidecar.
    pub(super) fn into_open_error(self, location: &StoreLocation) -> OpenError {
        match self {
            Self::Misconfigured { advice, .. } => OpenError::unfit(advice),
            Self::NoReport(error) => login_error(&error, location).unwrap_or_else(|| {
                OpenError::because(format!("{location} was reached, but does not report its configuration."), error)
            }),
        }
    }
}

fn without_aof(aof: Option<bool>) -> &'static str {
    if aof.is_some() { SNAPSHOTS } else { UNKNOWN }
}

async fn sync_policy(connection: &mut MultiplexedConnection) -> &'static str {
    let fetched: Result<Vec<String>, RedisError> =
        redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await;
    // Managed servers often forbid CONFIG. That is no reason not to start.
    match fetched.unwrap_or_default().get(1).map(String::as_str) {
        Some("always") => ALWAYS,
        Some("everysec") => EVERY_SECOND,
        Some("no") => NOT_SYNCED,
        _ => AOF_UNKNOWN,
    }
}

/// Returns the error for the operator if the server rejected the password, or requires one; else `None`.
pub(super) fn login_error(error: &RedisError, location: &StoreLocation) -> Option<OpenError> {
    let is_login_error =
        error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    is_login_error.then(|| {
        OpenError::because(
            format!(
                "{location} rejects the password, or requires one. Put it into TOLLGATE_STORE, as in \
                 redis://USER:PASSWORD@HOST (without USER, redis://:PASSWORD@HOST)."
            ),
            error.clone(),
        )
    })
}
