//! The interface between the interpreter and a store: reading and writing the records of one scope.

use super::super::error::StoreError;
use crate::transaction::{FieldMap, Key, LogEntry};

/// A packed record as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct PackedRecord {
    /// Its text.
    pub(in crate::store) value: String,
    /// Time from which it counts as absent, in Unix milliseconds. `None` if it has none.
    pub(in crate::store) purge_at: Option<i64>,
}

/// The records of one scope. A missing record reads as `None` or as empty. The purge time is not evaluated here: a
/// record is returned until it is removed.
pub(in crate::store) trait Records {
    fn hash(&self, name: &str) -> Result<Option<FieldMap>, StoreError>;
    fn packed(&self, name: &str) -> Result<Option<PackedRecord>, StoreError>;
    /// Returns the entries with the lowest scores, ordered by score, then by member.
    fn index_first(&self, name: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError>;
    /// Returns the highest score in an index.
    fn index_last_score(&self, name: &str) -> Result<Option<i64>, StoreError>;
    /// Returns the entries whose members sort after this one, ordered by the members' bytes.
    fn index_after(&self, name: &str, member: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError>;
    /// Returns the entries after this cursor, oldest first. An invalid cursor is a fault.
    fn log_after(&self, name: &str, cursor: &str, limit: u32) -> Result<Vec<LogEntry>, StoreError>;

    /// Replaces a hash, or removes it.
    fn write_hash(&mut self, name: &str, fields: Option<&FieldMap>) -> Result<(), StoreError>;
    /// Replaces a packed record, or removes it.
    fn write_packed(&mut self, name: &str, record: Option<&PackedRecord>) -> Result<(), StoreError>;
    fn index_put(&mut self, name: &str, member: &str, score: i64) -> Result<(), StoreError>;
    fn index_remove(&mut self, name: &str, member: &str) -> Result<(), StoreError>;
    fn append(&mut self, name: &str, fields: &FieldMap, keep: Option<u32>) -> Result<(), StoreError>;
    /// Removes a log with all its entries.
    fn clear_log(&mut self, name: &str) -> Result<(), StoreError>;
    /// Moves a record in the purge queue from its old purge time to its new one; `None` is no purge time.
    fn move_purge(&mut self, key: &Key, old: Option<i64>, new: Option<i64>) -> Result<(), StoreError>;
}
