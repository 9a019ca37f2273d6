//! The script, and one execution of it on a connection.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{super::error::BatchReplies, decode::decode, encode, opcodes::resolve};
use crate::transaction::Transaction;

static TRANSACT: LazyLock<Script> = LazyLock::new(|| Script::new(&resolve(include_str!("transact.lua"))));

/// Carries out transactions. Without `now_ms`, they take the server's time.
///
/// # Errors
/// If the server or the connection fails. Faults of single transactions are in the replies instead.
pub(super) async fn execute<'t>(
    connection: &mut MultiplexedConnection,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
    now_ms: Option<i64>,
) -> Result<BatchReplies, RedisError> {
    let call = encode::call(TRANSACT.get_hash(), transactions.clone(), now_ms);
    let answer: Value = match call.query_async(connection).await {
        // The server does not have the script: it has restarted, or is new.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            TRANSACT.load_async(connection).await?;
            call.query_async(connection).await?
        }
        answered => answered?,
    };
    Ok(decode(&answer, transactions))
}
