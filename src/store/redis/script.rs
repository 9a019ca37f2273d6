//! One call of the script, by a connection: what is sent, and what comes back.

use std::sync::LazyLock;

use redis::{RedisError, Script, Value, aio::MultiplexedConnection};

use super::{
    super::error::StoreError,
    decode::decode,
    encode::{encode, key_text},
};
use crate::transaction::{Reply, Transaction};

static TRANSACT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("transact.lua")));

/// The replies to a call's transactions, or why there are none.
pub(super) type Replies = Result<Vec<Result<Reply, StoreError>>, StoreError>;

/// Carries transactions out. With no time given, it is the server's. An error is the server's or the connection's: the script
/// reports the faults of transactions in its answer.
pub(super) async fn carry_out(
    connection: &mut MultiplexedConnection,
    transactions: &[Transaction],
    now_ms: Option<i64>,
) -> Result<Replies, RedisError> {
    let mut invocation = TRANSACT.prepare_invoke();
    for transaction in transactions {
        for used in &transaction.records {
            invocation.key(key_text(&transaction.scope, &used.key));
        }
    }
    invocation.arg(encode(transactions, now_ms));
    // A server that forgot the script is sent it again.
    let answer: Value = invocation.invoke_async(connection).await?;
    Ok(decode(answer, transactions))
}
