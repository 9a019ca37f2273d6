//! Whether a server is fit to keep credits, and what of them survives its crash.

use redis::{ErrorKind, InfoDict, RedisError, aio::MultiplexedConnection};

use super::{
    super::{
        error::{OpenError, StoreError},
        location::StoreLocation,
    },
    server_failure::{Trouble, is_forbidden},
    watcher::NotYet,
};

const ALWAYS: &str = "each answer is in the append-only file of Redis before it is given";
const EVERY_SECOND: &str = "Redis writes its append-only file each second: if its machine crashes, about the last second of answers can be lost";
const NOT_SYNCED: &str = "Redis leaves it to the operating system when to write its append-only file: if its machine crashes, the last \
                          half minute of answers can be lost";
const AOF_UNKNOWN: &str = "Redis writes an append-only file, but does not tell how often: if its machine crashes, the last answers can be lost";
const SNAPSHOTS: &str =
    "Redis writes no append-only file: if it crashes, every answer since its last snapshot can be lost";
const UNKNOWN: &str = "Redis does not tell whether anything survives its crash";

/// What a server has to be.
#[derive(Clone)]
pub(super) struct Demands {
    pub(super) location: StoreLocation,
    pub(super) require_aof: bool,
}

/// What a fit server tells of itself.
pub(super) struct Fitness {
    tells_policy: bool,
    aof: Option<bool>,
}

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// Somebody has to set it otherwise.
    #[error("{advice}")]
    Refused {
        /// Fit for a client.
        reason: &'static str,
        /// For whoever runs the server.
        advice: String,
    },
    /// It did not tell.
    #[error(transparent)]
    Silent(#[from] RedisError),
}

impl Demands {
    /// Refuses a server that may drop records by itself, or whose records another server replaces.
    pub(super) async fn check(&self, connection: &mut MultiplexedConnection) -> Result<Fitness, Unfit> {
        let Self { location, require_aof } = self;
        // Without the name of a section it tells all that are of use here at once, in every version.
        let info: Option<InfoDict> = match redis::cmd("INFO").query_async(connection).await {
            Ok(info) => Some(info),
            Err(error) if error.code() == Some("NOPERM") => None,
            Err(error) => return Err(error.into()),
        };
        let told = |name: &str| info.as_ref().and_then(|info| info.get::<String>(name));
        if told("role").is_some_and(|role| role != "master") {
            return Err(Unfit::Refused {
                reason: "its server is a replica",
                advice: format!(
                    "{location} is a replica, whose records its primary replaces. Name the primary instead."
                ),
            });
        }
        let policy = told("maxmemory_policy");
        if let Some(policy) = policy.as_deref().filter(|policy| *policy != "noeviction") {
            return Err(Unfit::Refused {
                reason: "its server may evict records",
                advice: format!(
                    "{location} has maxmemory-policy {policy}, by which it would silently drop credits when its memory is full. \
                     Set maxmemory-policy to noeviction, or give Tollgate a server of its own."
                ),
            });
        }
        let aof = told("aof_enabled").map(|enabled| enabled == "1");
        if *require_aof && aof != Some(true) {
            let durability = without_aof(aof);
            return Err(Unfit::Refused {
                reason: "its server keeps no append-only file",
                advice: format!(
                    "An append-only file is required, and {durability} ({location}). Set appendonly to yes, or do not require it."
                ),
            });
        }
        Ok(Fitness { tells_policy: policy.is_some(), aof })
    }

    /// What to say to whoever starts a sidecar on a server that failed its trial.
    pub(super) fn refuse_at_start(&self, failed: NotYet) -> OpenError {
        let Self { location, .. } = self;
        let advice = match &failed {
            NotYet::Failed(error) => self.advice(error),
            NotYet::Answered(error) => self.advice_on(error),
            NotYet::Unfit(_) | NotYet::Late(_) => None,
        };
        match advice {
            Some(advice) => OpenError::unfit(advice),
            None => OpenError::because(format!("{location} is reached, but carries out no change."), failed),
        }
    }

    /// The same about what the server answered to a transaction.
    pub(super) fn advice_on(&self, error: &StoreError) -> Option<String> {
        let StoreError::Unavailable { source: Some(cause), .. } = error else { return None };
        let message = cause.to_string();
        is_forbidden(&message).then(|| self.forbids(&message))
    }

    fn forbids(&self, detail: &str) -> String {
        let Self { location, .. } = self;
        format!(
            "{location} does not permit its user what Tollgate needs ({detail}). docs/stores.md names the commands."
        )
    }

    /// What to do about an error that will not pass by itself.
    pub(super) fn advice(&self, error: &RedisError) -> Option<String> {
        let Self { location, .. } = self;
        if error.code() == Some("NOPERM") {
            return Some(self.forbids(error.detail().unwrap_or_default()));
        }
        refuses_login(error, location).map(|refusal| refusal.to_string())
    }
}

impl Fitness {
    /// What survives a crash of the server. The log is told what somebody should know who starts a sidecar.
    pub(super) async fn durability(&self, connection: &mut MultiplexedConnection, demands: &Demands) -> &'static str {
        let store = &demands.location;
        if !self.tells_policy {
            tracing::warn!(%store, "the server does not tell its maxmemory-policy, which must be noeviction");
        }
        if self.aof == Some(true) {
            return sync(connection).await;
        }
        let durability = without_aof(self.aof);
        tracing::warn!(%store, "{durability}");
        durability
    }
}

impl Unfit {
    /// What it means for calls.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Silent(error) => {
                Trouble::behind(error).map_or("its server does not tell what it is set to", Trouble::reason)
            }
        }
    }

    /// What to say to whoever starts a sidecar.
    pub(super) fn at_start(self, location: &StoreLocation) -> OpenError {
        match self {
            Self::Refused { advice, .. } => OpenError::unfit(advice),
            Self::Silent(error) => refuses_login(&error, location).unwrap_or_else(|| {
                OpenError::because(format!("{location} is reached, but does not tell what it is set to."), error)
            }),
        }
    }
}

fn without_aof(aof: Option<bool>) -> &'static str {
    if aof.is_some() { SNAPSHOTS } else { UNKNOWN }
}

async fn sync(connection: &mut MultiplexedConnection) -> &'static str {
    let fetched: Result<Vec<String>, RedisError> =
        redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await;
    // Managed servers often forbid CONFIG; that is no reason not to start.
    match fetched.unwrap_or_default().get(1).map(String::as_str) {
        Some("always") => ALWAYS,
        Some("everysec") => EVERY_SECOND,
        Some("no") => NOT_SYNCED,
        _ => AOF_UNKNOWN,
    }
}

/// What to say to whoever named no password, or a wrong one; none if the error is another.
pub(super) fn refuses_login(error: &RedisError, location: &StoreLocation) -> Option<OpenError> {
    let of_login =
        error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    of_login.then(|| {
        OpenError::because(
            format!(
                "{location} wants a password, or another one. Put it into TOLLGATE_STORE, as in \
                 redis://USER:PASSWORD@HOST (without USER, redis://:PASSWORD@HOST)."
            ),
            error.clone(),
        )
    })
}
