//! Records on a Redis or Valkey server that many sidecars share. One generic script carries out every transaction; this
//! module sends it, and knows what a failed call means. It must not know what the records mean.

mod batch_lane;
mod capability_check;
mod decode;
mod encode;
mod requirements;
mod script;
mod server_failure;
mod shared_connection;
mod watcher;

use std::{sync::Arc, time::Duration};

use ::redis::{Client, RedisError};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    deadline_queue::DeadlineQueue,
    error::{BatchReplies, OpenError, StoreError},
    health::StoreHealth,
    location::StoreLocation,
    options::StoreOptions,
};
use crate::{clock::Clock, transaction::Transaction};
use batch_lane::{Lanes, Way};
use requirements::{Demands, refuses_login};
use server_failure::Trouble;
use shared_connection::Link;
use watcher::{NotYet, Watcher, connect};

/// How many calls may be on their way. A server that takes some ten microseconds for each works that off in well under the
/// wait of a call; more would only time out.
const IN_FLIGHT_LIMIT: usize = 4096;

/// What is said of a call without an answer.
const LATE: &str = "it did not answer in time";

/// Long enough for a TLS handshake with a server in the same region that is busy.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The longest that it takes to find out that a server is not there, or not fit.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// A store on a Redis or Valkey server; clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    clock: Clock,
    deadlines: DeadlineQueue,
    in_flight: Semaphore,
    lanes: Lanes,
    durability: &'static str,
    _watcher: AbortOnDropHandle<()>,
    /// Cancelled when the watcher ends, which it should not: nobody would find the way back any more.
    unwatched: CancellationToken,
}

impl RedisStore {
    pub(super) async fn open(url: &str, location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        if url.starts_with("rediss:") {
            // It fails only if there is a provider already, which then serves.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        tokio::time::timeout(OPEN_LIMIT, Self::open_fit(url, location, options))
            .await
            .unwrap_or_else(|late| Err(OpenError::because(format!("{location} does not answer."), late)))
    }

    async fn open_fit(url: &str, location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        let refuse = |error| {
            refuses_login(&error, location).unwrap_or_else(|| {
                OpenError::because(format!("{location} cannot be reached. Is it up, and is the URL right?"), error)
            })
        };
        let client = Client::open(url).map_err(refuse)?;
        let mut connection = tokio::time::timeout(CONNECT_LIMIT, connect(&client))
            .await
            .unwrap_or_else(|late| Err(std::io::Error::from(late).into()))
            .map_err(refuse)?;
        let demands = Demands { location: location.clone(), require_aof: options.require_aof };
        let fitness = demands.check(&mut connection).await.map_err(|unfit| unfit.at_start(location))?;
        let durability = fitness.durability(&mut connection, &demands).await;
        let takes_scopes_together = match capability_check::try_everything(&mut connection).await.map_err(NotYet::from)
        {
            // It serves reads, and changes once there is room for them.
            Err(full) if matches!(full.trouble(), Trouble::RefusesChanges(_)) => false,
            tried => tried.map_err(|failed| demands.refuse_at_start(failed))?.takes_scopes_together,
        };
        let link = Arc::new(Link::by(connection, location.to_string()));
        link.learn(takes_scopes_together);
        let watcher = Watcher { link: Arc::clone(&link), client, demands, wait: options.wait };
        let unwatched = CancellationToken::new();
        let ending = unwatched.clone().drop_guard();
        let watching = async move {
            let _ending = ending;
            watcher.watch().await;
        };
        let shared = Shared {
            link,
            clock: options.clock,
            deadlines: DeadlineQueue::of(options.wait),
            in_flight: Semaphore::new(IN_FLIGHT_LIMIT),
            lanes: Lanes::default(),
            durability,
            _watcher: AbortOnDropHandle::new(tokio::spawn(watching)),
            unwatched,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn durability(&self) -> &'static str {
        self.shared.durability
    }

    pub(super) async fn ended(&self) {
        self.shared.unwatched.cancelled().await;
    }

    pub(super) fn health(&self) -> watch::Receiver<StoreHealth> {
        self.shared.link.watch()
    }

    /// Carries out transactions of one scope, of which there is at least one.
    pub(super) async fn transact_all(&self, transactions: Vec<Transaction>) -> BatchReplies {
        let shared = &self.shared;
        let _permit = shared.in_flight.try_acquire().map_err(|_| StoreError::Overloaded)?;
        let Some(scope) = transactions.first().map(|first| first.scope.clone()) else { return Ok(Vec::new()) };
        match batch_lane::enter(shared, scope, transactions) {
            Way::Go(_flight, transactions) => shared.call(transactions.iter()).await,
            Way::Wait(answer) => match shared.deadlines.bounded(answer).await {
                Ok(Ok(replies)) => replies,
                Ok(Err(lost)) => Err(StoreError::unavailable_because("it ended before it answered", lost)),
                // Whether the server is lost is for the call to say that was on its way meanwhile.
                Err(late) => Err(StoreError::unavailable_because(LATE, late)),
            },
        }
    }
}

impl Shared {
    /// One call of the script.
    async fn call<'t>(&self, transactions: impl Iterator<Item = &'t Transaction> + Clone) -> BatchReplies {
        let now_ms = match &self.clock {
            Clock::System => None,
            Clock::Manual(clock) => Some(clock.now_ms()),
        };
        let (mut connection, generation) = self.link.connection()?;
        let calling = script::execute(&mut connection, transactions, now_ms);
        match self.deadlines.bounded(calling).await {
            Ok(Ok(replies)) => {
                let failed = replies.iter().flatten().filter_map(|reply| reply.as_ref().err());
                if let Some((trouble, cause)) = failed.filter_map(server_failure::of_server).next() {
                    self.link.met(generation, trouble, cause);
                }
                replies
            }
            Ok(Err(error)) => Err(self.meaning(generation, error)),
            // One slow answer is enough: if it was slow only once, the watcher has the way open again as soon as the server
            // answers; more callers would only have waited for that as well.
            Err(late) => {
                self.link.met(generation, Trouble::Lost(LATE), &late);
                Err(StoreError::unavailable_because(LATE, late))
            }
        }
    }

    fn meaning(&self, generation: u64, error: RedisError) -> StoreError {
        if error.code() == Some(capability_check::CROSS_SLOT) {
            self.link.learn(false);
            return StoreError::unavailable_because("its server has become one of a cluster", error);
        }
        match Trouble::behind(&error) {
            Some(trouble) => {
                self.link.met(generation, trouble, &error);
                StoreError::unavailable_because(trouble.reason(), error)
            }
            None => StoreError::fault(format!("its server rejects the script: {error}")),
        }
    }
}
