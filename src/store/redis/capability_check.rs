//! Tries every command that the script uses on a server, before the server is used.
//!
//! Redis checks permissions command by command, in the middle of a script, after earlier writes of the same transaction
//! were made. A user without all permissions would therefore leave transactions half done. This check runs before the
//! first call and again whenever the server is checked. It removes what it wrote, unless it is cut short; then the next
//! one does.

use redis::{RedisError, aio::MultiplexedConnection};

use super::{
    super::error::{BatchReplies, StoreError},
    script::execute,
};
use crate::transaction::{Key, PURGE_AT, Read, Scope, Transaction, Value, Write};

/// The scope of the check's own records. It is no team's.
const SCOPE: &str = "!probe";

/// A scope whose keys hash to another slot than those of [`SCOPE`].
const OTHER_SCOPE: &str = "!probe-2";

/// The error code of a server that rejects keys of several hash slots in one call.
pub(super) const CROSS_SLOT: &str = "CROSSSLOT";

/// Why a server failed the check.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] RedisError),
    /// A transaction in the call failed.
    #[error(transparent)]
    Transaction(#[from] StoreError),
}

/// What the check found out about a server that passed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Whether it accepts keys of several scopes in one call. A server of a cluster does not.
    pub(super) accepts_several_scopes: bool,
}

/// Writes, reads and removes a record of each kind.
pub(super) async fn check_capabilities(connection: &mut MultiplexedConnection) -> Result<Capabilities, CheckError> {
    // The watcher sends PING all the time, so PING has to be permitted too.
    let _: () = redis::cmd("PING").query_async(connection).await?;
    let of_both_scopes = [write_all_kinds(), read_page(), read_hash(OTHER_SCOPE)];
    let (replies, accepts_several_scopes) = match execute(connection, of_both_scopes.iter(), None).await {
        Err(error) if error.code() == Some(CROSS_SLOT) => {
            (execute(connection, of_both_scopes[..2].iter(), None).await?, false)
        }
        replies => (replies?, true),
    };
    require_success(replies)?;
    // This is a call of its own: the script may skip the write of a hash that the same call removes.
    require_success(execute(connection, [remove_all()].iter(), None).await?)?;
    Ok(Capabilities { accepts_several_scopes })
}

fn require_success(replies: BatchReplies) -> Result<(), StoreError> {
    replies?.into_iter().try_for_each(|reply| reply.map(|_| ()))
}

fn write_all_kinds() -> Transaction {
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

fn read_page() -> Transaction {
    let mut step = Transaction::on(Scope::new(SCOPE));
    step.record(Key::index("index"), Read::MembersAfter { member: String::new(), limit: 1 });
    step
}

fn read_hash(scope: &str) -> Transaction {
    let mut step = Transaction::on(Scope::new(scope));
    step.record(Key::hash("hash"), Read::Whole);
    step
}

fn remove_all() -> Transaction {
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
