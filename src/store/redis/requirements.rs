//! What a server must be configured to do before it may keep credits, and which answers survive its crash.

use redis::{InfoDict, RedisError, aio::MultiplexedConnection};

use super::{
    super::{error::StoreError, location::StoreLocation},
    server_failure::is_permission_denied,
    server_role::check_role,
    unfit_server::{UnfitServer, login_error},
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

impl ServerRequirements {
    /// Refuses a server of an unsupported role, one that can evict records, and on demand one without an append-only
    /// file.
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
        if let Some(info) = &info {
            check_role(info, connection, location).await?;
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
