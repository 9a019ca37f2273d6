//! What the interpreter needs of a store: to read and write the records of one scope.

use super::super::error::StoreError;
use crate::transaction::{FieldMap, Key, LogEntry};

/// A packed record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct PackedRecord {
    /// The text.
    pub(in crate::store) value: String,
    /// From when on it counts as absent, in Unix milliseconds.
    pub(in crate::store) purge_at: Option<i64>,
}

/// The records of one scope. What is missing reads as none, or as empty. Whether a record's purge time has come is not
/// this trait's concern: it hands out what is kept.
pub(in crate::store) trait Records {
    fn hash(&self, name: &str) -> Result<Option<FieldMap>, StoreError>;
    fn packed(&self, name: &str) -> Result<Option<PackedRecord>, StoreError>;
    /// The entries with the lowest scores, in the order of score, then member.
    fn index_first(&self, name: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError>;
    /// The highest score of an entry.
    fn index_last_score(&self, name: &str) -> Result<Option<i64>, StoreError>;
    /// The entries with members above this one, in the order of the members' bytes.
    fn index_after(&self, name: &str, member: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError>;
    /// The entries after this cursor, oldest first; a cursor that is not of this store is a fault.
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
    /// Moves a record's place in the queue of those to be purged, from its old time, if it had one, to its new one.
    fn move_purge(&mut self, key: &Key, old: Option<i64>, new: Option<i64>) -> Result<(), StoreError>;
}
