//! Records on a Redis or Valkey server that many sidecars share. One generic script carries out every transaction; this
//! module sends it, and knows what a failed call means. It must not know what the records mean.

mod decode;
mod encode;
mod link;
mod server;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use ::redis::{ErrorKind, RedisError, Script, ServerErrorKind};
use tokio::sync::Semaphore;

use super::{
    StoreOptions,
    error::{OpenError, StoreError},
    location::StoreLocation,
};
use crate::{
    clock::Clock,
    transaction::{Reply, Transaction},
};
use link::Link;

static TRANSACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/transact.lua")));

/// How many calls may be on their way. A server that takes some ten microseconds for each works that off in well under
/// [`CALL_LIMIT`]; more would only time out.
const IN_FLIGHT_LIMIT: usize = 4096;

/// The longest that a call takes, whatever happens: to connect, to load the script and to run it each have their own, shorter,
/// bound, and a call that needs all three must not take the sum.
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// The longest that it takes to find out that a server is not there, or not fit.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// A store on a Redis or Valkey server; clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    clock: Clock,
    in_flight: Semaphore,
    durability: &'static str,
}

impl RedisStore {
    pub(super) async fn open(url: &str, location: &StoreLocation, options: StoreOptions) -> Result<Self, OpenError> {
        let opening = async {
            let link = Link::open(url, location).await?;
            let durability = server::check(link.connection(), location, options.require_aof).await?;
            Ok(Self {
                shared: Arc::new(Shared {
                    link,
                    clock: options.clock,
                    in_flight: Semaphore::new(IN_FLIGHT_LIMIT),
                    durability,
                }),
            })
        };
        tokio::time::timeout(OPEN_LIMIT, opening)
            .await
            .unwrap_or_else(|late| Err(OpenError::because(format!("{location} does not answer."), late)))
    }

    pub(super) fn durability(&self) -> &'static str {
        self.shared.durability
    }

    pub(super) async fn transact_all(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let _permit = self.shared.in_flight.try_acquire().map_err(|_| StoreError::Overloaded)?;
        let now_ms = match &self.shared.clock {
            Clock::System => None,
            Clock::Manual(clock) => Some(clock.now_ms()),
        };
        let mut invocation = TRANSACT.prepare_invoke();
        for transaction in transactions {
            for used in &transaction.records {
                invocation.key(encode::key_text(&transaction.scope, &used.key));
            }
        }
        invocation.arg(encode::encode(transactions, now_ms));
        let (mut connection, generation) = self.shared.link.connection_and_generation();
        let answer = match tokio::time::timeout(CALL_LIMIT, invocation.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                // The script reports the faults of transactions in its answer, so whatever ends a call as an error is about
                // the server or the way to it. Some of these errors would stay with the connection for ever.
                self.shared.link.renew(generation);
                return Err(meaning(error));
            }
            Err(late) => {
                self.shared.link.renew(generation);
                return Err(StoreError::unavailable_because("it did not answer in time", late));
            }
        };
        decode::decode(answer, transactions)
    }
}

fn meaning(error: RedisError) -> StoreError {
    match error.kind() {
        // The server understood the call and rejects it: no repetition will help.
        ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm) | ErrorKind::UnexpectedReturnType => {
            StoreError::fault(format!("its server rejects the script: {error}"))
        }
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if !error.detail().unwrap_or_default().starts_with("max number of clients") =>
        {
            StoreError::fault(format!("its server rejects the script: {error}"))
        }
        ErrorKind::Server(_) | ErrorKind::Extension => {
            StoreError::unavailable_because("its server cannot serve now", error)
        }
        _ if error.is_timeout() => StoreError::unavailable_because("it did not answer in time", error),
        _ => StoreError::unavailable_because("the connection to it failed", error),
    }
}
