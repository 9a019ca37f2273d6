//! One call of the script, by a connection: what is sent, and what comes back.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{super::error::StoreError, decode::decode, encode};
use crate::transaction::{Reply, Transaction};

static TRANSACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("transact.lua")));

/// The replies to a call's transactions, or why there are none.
pub(super) type Replies = Result<Vec<Result<Reply, StoreError>>, StoreError>;

/// Carries transactions out. With no time given, it is the server's. An error is the server's or the connection's: the script
/// reports the faults of transactions in its answer.
pub(super) async fn carry_out<'t>(
    connection: &mut MultiplexedConnection,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
    now_ms: Option<i64>,
) -> Result<Replies, RedisError> {
    let call = encode::call(TRANSACT.get_hash(), transactions.clone(), now_ms);
    let answer: Value = match call.query_async(connection).await {
        // A server that forgot the script is sent it again.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            TRANSACT.load_async(connection).await?;
            call.query_async(connection).await?
        }
        answered => answered?,
    };
    Ok(decode(&answer, transactions))
}
