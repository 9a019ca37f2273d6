//! Whether a server is fit to keep credits, and what of them survives its crash.

use redis::{ErrorKind, InfoDict, RedisError, aio::ConnectionManager};

use super::super::{error::OpenError, location::StoreLocation};

const ALWAYS: &str = "each answer is in the append-only file of Redis before it is given";
const EVERY_SECOND: &str = "Redis writes its append-only file each second: if its machine crashes, about the last second of answers can be lost";
const NOT_SYNCED: &str = "Redis leaves it to the operating system when to write its append-only file: if its machine crashes, the last \
                          half minute of answers can be lost";
const AOF_UNKNOWN: &str = "Redis writes an append-only file, but does not tell how often: if its machine crashes, the last answers can be lost";
const SNAPSHOTS: &str =
    "Redis writes no append-only file: if it crashes, every answer since its last snapshot can be lost";
const UNKNOWN: &str = "Redis does not tell whether anything survives its crash";

/// Refuses a server that may drop records by itself, and says what survives a crash of it.
pub(super) async fn check(
    mut connection: ConnectionManager,
    location: &StoreLocation,
    require_aof: bool,
) -> Result<&'static str, OpenError> {
    match info(&mut connection, location, "memory").await?.and_then(|info| info.get::<String>("maxmemory_policy")) {
        Some(policy) if policy != "noeviction" => {
            return Err(OpenError::unfit(format!(
                "{location} has maxmemory-policy {policy}, by which it would silently drop credits when its memory is full. \
                 Set maxmemory-policy to noeviction, or give Tollgate a server of its own."
            )));
        }
        Some(_) => {}
        None => {
            tracing::warn!(store = %location, "the server does not tell its maxmemory-policy, which must be noeviction")
        }
    }
    let aof = info(&mut connection, location, "persistence").await?.and_then(|info| info.get::<u8>("aof_enabled"));
    if aof == Some(1) {
        return Ok(sync(&mut connection).await);
    }
    let durability = if aof.is_some() { SNAPSHOTS } else { UNKNOWN };
    if require_aof {
        return Err(OpenError::unfit(format!(
            "An append-only file is required, and {durability} ({location}). Set appendonly to yes, or do not require it."
        )));
    }
    tracing::warn!(store = %location, "{durability}");
    Ok(durability)
}

async fn sync(connection: &mut ConnectionManager) -> &'static str {
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

/// A section of what the server tells of itself; none if it does not tell it to us.
async fn info(
    connection: &mut ConnectionManager,
    location: &StoreLocation,
    section: &str,
) -> Result<Option<InfoDict>, OpenError> {
    match redis::cmd("INFO").arg(section).query_async(connection).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.code() == Some("NOPERM") => Ok(None),
        Err(error) => Err(refuses_login(&error, location).unwrap_or_else(|| {
            OpenError::because(format!("{location} is reached, but does not tell what it is set to."), error)
        })),
    }
}
