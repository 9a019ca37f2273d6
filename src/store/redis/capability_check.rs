//! A trial of a server: every command that the script may send it, by which nothing stays changed if it is not cut short.
//!
//! What a user is not permitted, Redis refuses command by command, in the middle of a transaction, after earlier writes of it were
//! made. So whether all is permitted is found out before the first call, and again whenever a server is checked.

use redis::{RedisError, aio::MultiplexedConnection};

use super::{
    super::error::{BatchReplies, StoreError},
    script::execute,
};
use crate::transaction::{Key, PURGE_AT, Read, Scope, Transaction, Value, Write};

/// Its records are in no team's scope, and gone with the trial, or with the next one.
const SCOPE: &str = "!probe";

/// A scope whose keys a server of a cluster may leave to another one.
const OTHER_SCOPE: &str = "!probe-2";

/// The code of an error that says so.
pub(super) const CROSS_SLOT: &str = "CROSSSLOT";

/// Why a server failed the trial.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Call(#[from] RedisError),
    #[error(transparent)]
    Transaction(#[from] StoreError),
}

/// What a trial shows of a server that passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// It takes keys of several scopes in one call.
    pub(super) takes_scopes_together: bool,
}

/// Writes, reads and removes a record of each kind.
pub(super) async fn try_everything(connection: &mut MultiplexedConnection) -> Result<Shown, Failed> {
    // Whether somebody is there is asked all the time, so it has to be permitted too.
    let _: () = redis::cmd("PING").query_async(connection).await?;
    let of_both_scopes = [write(), page(), look_at(OTHER_SCOPE)];
    let (replies, takes_scopes_together) = match execute(connection, of_both_scopes.iter(), None).await {
        Err(error) if error.code() == Some(CROSS_SLOT) => {
            (execute(connection, of_both_scopes[..2].iter(), None).await?, false)
        }
        replies => (replies?, true),
    };
    all_carried_out(replies)?;
    // What is written and removed in one call may never be written.
    all_carried_out(execute(connection, [remove()].iter(), None).await?)?;
    Ok(Shown { takes_scopes_together })
}

fn all_carried_out(replies: BatchReplies) -> Result<(), StoreError> {
    replies?.into_iter().try_for_each(|reply| reply.map(|_| ()))
}

fn write() -> Transaction {
    let mut step = Transaction::on(Scope::new(SCOPE));
    let hash = step.record(Key::hash("hash"), Read::Whole);
    let packed = step.record(Key::packed("packed"), Read::Whole);
    let index = step.record(Key::index("index"), Read::First { limit: 1, unless_applied: false });
    let log = step.record(Key::log("log"), Read::EntriesAfter { cursor: String::new(), limit: 1 });
    let soon = || Value::now_plus(1_000);
    let writes = vec![
        Write::Set(hash, "field", 1.into()),
        Write::Set(hash, PURGE_AT, soon()),
        Write::Put(packed, vec!["value".into()], Some(soon())),
        Write::IndexPut(index, "member".to_owned(), 1.into()),
        Write::Append { log, fields: vec![("field", 1.into())], keep: Some(1) },
    ];
    step.option(Vec::new(), writes);
    step
}

fn page() -> Transaction {
    let mut step = Transaction::on(Scope::new(SCOPE));
    step.record(Key::index("index"), Read::MembersAfter { member: String::new(), limit: 1 });
    step
}

fn look_at(scope: &str) -> Transaction {
    let mut step = Transaction::on(Scope::new(scope));
    step.record(Key::hash("hash"), Read::Whole);
    step
}

fn remove() -> Transaction {
    let mut step = Transaction::on(Scope::new(SCOPE));
    let hash = step.record(Key::hash("hash"), Read::Nothing);
    let packed = step.record(Key::packed("packed"), Read::Nothing);
    let index = step.record(Key::index("index"), Read::Nothing);
    let log = step.record(Key::log("log"), Read::Nothing);
    let writes = vec![
        Write::Delete(hash),
        Write::Delete(packed),
        Write::IndexRemove(index, "member".to_owned()),
        Write::Delete(log),
    ];
    step.option(Vec::new(), writes);
    step
}
