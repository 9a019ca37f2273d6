//! Records on a Redis or Valkey server that many sidecars share.
//!
//! One generic script (`redis/transact.lua`) carries out every transaction. This module sends it and interprets failed
//! calls. It must not know what the records mean.

mod batch_lane;
mod capability_check;
mod connect;
mod decode;
mod encode;
mod first_connection;
mod opcodes;
mod probe_error;
mod reply_limit;
mod requirements;
mod script;
mod script_caller;
mod second_connection;
mod server_failure;
mod server_role;
mod shared_connection;
mod unfit_server;
mod watcher;

use std::{sync::Arc, time::Duration};

use ::redis::Client;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    error::{BatchReplies, OpenError, StoreError},
    health::StoreHealth,
    location::StoreLocation,
    options::StoreOptions,
};
use crate::transaction::Transaction;
use batch_lane::{Admission, BatchLanes};
use capability_check::check_capabilities;
use first_connection::connect_first;
use probe_error::ProbeError;
use requirements::ServerRequirements;
use script_caller::{ScriptCaller, TIMED_OUT};
use server_failure::ServerFailure;
use shared_connection::SharedConnection;
use watcher::Watcher;

/// Maximum number of calls that wait for the server. A server that takes some 10 µs for each works them off well within
/// the timeout of a call; more would only time out.
const MAX_WAITING_CALLS: usize = 4096;

/// Timeout of opening the store, including all checks of the server.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A store on a Redis or Valkey server. Clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<RedisInner>,
}

struct RedisInner {
    lanes: Arc<BatchLanes>,
    waiting: Semaphore,
    durability: &'static str,
    _watcher: AbortOnDropHandle<()>,
    /// Cancelled when the watcher ends. It ends only by a panic, and then the store would never reconnect.
    watcher_ended: CancellationToken,
}

impl RedisStore {
    pub(super) async fn open(url: &str, location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        if url.starts_with("rediss:") {
            // This fails only if the process already has a provider, which is then used.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        timeout(OPEN_TIMEOUT, Self::open_checked(url, location, options)).await.unwrap_or_else(|elapsed| {
            let limit = OPEN_TIMEOUT.as_secs();
            let advice = format!("{location} cannot be reached: it has not passed all checks within {limit} s.");
            Err(OpenError::unreachable(advice, elapsed))
        })
    }

    async fn open_checked(url: &str, location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        let client = Client::open(url)
            .map_err(|error| OpenError::unfit_because("this is not a valid URL of a Redis server", error))?;
        let requirements = ServerRequirements { location: location.clone(), require_aof: options.require_aof };
        let mut connection = connect_first(&client, &requirements).await?;
        let configuration =
            requirements.check(&mut connection).await.map_err(|unfit| unfit.into_open_error(location))?;
        let accepts_several_scopes = match check_capabilities(&mut connection).await.map_err(ProbeError::from) {
            // The server serves reads now, and writes as soon as it has room for them.
            Err(error) if matches!(error.failure(), ServerFailure::WritesRefused(_)) => false,
            checked => checked.map_err(|error| error.into_open_error(&requirements))?.accepts_several_scopes,
        };
        let durability = configuration.durability(&mut connection, location).await;
        let connection = Arc::new(SharedConnection::new(connection, location.to_string()));
        connection.set_accepts_several_scopes(accepts_several_scopes);
        let watcher = Watcher::new(Arc::clone(&connection), client, requirements, options.wait);
        let watcher_ended = CancellationToken::new();
        let guard = watcher_ended.clone().drop_guard();
        let watching = async move {
            let _guard = guard;
            watcher.watch().await;
        };
        let caller = ScriptCaller { connection, clock: options.clock, timeout: options.wait };
        let inner = RedisInner {
            lanes: Arc::new(BatchLanes::new(caller)),
            waiting: Semaphore::new(MAX_WAITING_CALLS),
            durability,
            _watcher: AbortOnDropHandle::new(tokio::spawn(watching)),
            watcher_ended,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) fn durability(&self) -> &'static str {
        self.inner.durability
    }

    pub(super) async fn ended(&self) {
        self.inner.watcher_ended.cancelled().await;
    }

    pub(super) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.inner.lanes.caller().connection.watch_health()
    }

    /// Carries out transactions of one scope.
    pub(super) async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        let inner = &self.inner;
        let _permit = inner.waiting.try_acquire().map_err(|_| StoreError::Overloaded)?;
        let Some(scope) = transactions.first().map(|first| first.scope.clone()) else { return Ok(Vec::new()) };
        match inner.lanes.enter(scope, transactions) {
            Admission::Send(_slot, transactions) => inner.lanes.caller().call(transactions.iter()).await,
            Admission::Queued(replies) => match timeout(inner.lanes.caller().timeout, replies).await {
                Ok(Ok(replies)) => replies,
                Ok(Err(closed)) => Err(StoreError::unavailable_because("it was closed before it answered", closed)),
                // Whether the server is lost is decided by the calls in flight, each of which has a timeout of its own.
                Err(elapsed) => Err(StoreError::unavailable_because(TIMED_OUT, elapsed)),
            },
        }
    }
}
