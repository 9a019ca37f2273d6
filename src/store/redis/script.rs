//! One call of the script, by a connection: what is sent, and what comes back.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{super::error::BatchReplies, decode::decode, encode};
use crate::transaction::Transaction;

static TRANSACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("transact.lua")));

/// Carries transactions out. With no time given, it is the server's. An error is the server's or the connection's: the script
/// reports the faults of transactions in its answer.
pub(super) async fn execute<'t>(
    connection: &mut MultiplexedConnection,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
    now_ms: Option<i64>,
) -> Result<BatchReplies, RedisError> {
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
