//! The tables of the file: for each kind of record, one or two tables with the key scope and name.

use std::cell::RefCell;

use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use super::super::{
    cursor::parse_entry_number,
    error::StoreError,
    interpreter::{PackedRecord, Records},
};
use crate::transaction::{FieldMap, Key, LogEntry, RecordKind, Scope};

type Named = (&'static str, &'static str);
type Pairs = Vec<(&'static str, &'static str)>;

const HASHES: TableDefinition<Named, Pairs> = TableDefinition::new("hashes");
/// Value: the purge time, if there is one, and the text.
const PACKED: TableDefinition<Named, (Option<i64>, &str)> = TableDefinition::new("packed");
const SCORES: TableDefinition<(&str, &str, &str), i64> = TableDefinition::new("index_scores");
const ORDER: TableDefinition<(&str, &str, i64, &str), ()> = TableDefinition::new("index_order");
const ENTRIES: TableDefinition<(&str, &str, u64), Pairs> = TableDefinition::new("log_entries");
/// Value: the number of a log's last entry, and how many entries it has. Stored so that appending does not have to read
/// the log.
const LOGS: TableDefinition<Named, (u64, u64)> = TableDefinition::new("logs");
/// The purge queue. Key: purge time, whether the record is a hash, scope, name.
const PURGES: TableDefinition<(i64, bool, &str, &str), ()> = TableDefinition::new("purges");
const NUMBERS: TableDefinition<&str, i64> = TableDefinition::new("numbers");
const LAST_MS: &str = "last_ms";

/// The tables within one database transaction.
pub(super) struct Tables<'t> {
    hashes: Table<'t, Named, Pairs>,
    packed: Table<'t, Named, (Option<i64>, &'static str)>,
    scores: Table<'t, (&'static str, &'static str, &'static str), i64>,
    order: Table<'t, (&'static str, &'static str, i64, &'static str), ()>,
    entries: Table<'t, (&'static str, &'static str, u64), Pairs>,
    logs: Table<'t, Named, (u64, u64)>,
    purges: Table<'t, (i64, bool, &'static str, &'static str), ()>,
    numbers: Table<'t, &'static str, i64>,
}

/// Converts an error of the database.
pub(super) fn broken(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(reason) => StoreError::fault(format!("the file is damaged: {reason}")),
        error => StoreError::unavailable_because("its file cannot be read or written", error),
    }
}

impl<'t> Tables<'t> {
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            hashes: write.open_table(HASHES)?,
            packed: write.open_table(PACKED)?,
            scores: write.open_table(SCORES)?,
            order: write.open_table(ORDER)?,
            entries: write.open_table(ENTRIES)?,
            logs: write.open_table(LOGS)?,
            purges: write.open_table(PURGES)?,
            numbers: write.open_table(NUMBERS)?,
        })
    }

    /// Returns the records of one scope.
    pub(super) fn of<'a>(&'a mut self, scope: &'a Scope) -> TableScope<'a, 't> {
        TableScope { tables: self, scope: scope.as_str(), failure: RefCell::new(None) }
    }

    /// Returns the stored time, which no later reply may be before.
    pub(super) fn last_ms(&self) -> Result<i64, StorageError> {
        Ok(self.numbers.get(LAST_MS)?.map_or(0, |number| number.value()))
    }

    /// Stores the time of the latest reply.
    pub(super) fn store_last_ms(&mut self, now_ms: i64) -> Result<(), StorageError> {
        self.numbers.insert(LAST_MS, now_ms).map(drop)
    }

    /// Removes due records, up to the limit.
    pub(super) fn purge(&mut self, now_ms: i64, limit: usize) -> Result<(), StorageError> {
        for _ in 0..limit {
            let Some((key, ())) = self.purges.first()?.map(|(key, nothing)| (key, nothing.value())) else {
                return Ok(());
            };
            let (purge_at, is_hash, scope, name) = key.value();
            if purge_at > now_ms {
                return Ok(());
            }
            let (scope, name) = (scope.to_owned(), name.to_owned());
            drop(key);
            // The queue is updated whenever a purge time changes, so the record is due.
            if is_hash {
                self.hashes.remove((scope.as_str(), name.as_str()))?;
            } else {
                self.packed.remove((scope.as_str(), name.as_str()))?;
            }
            self.purges.remove((purge_at, is_hash, scope.as_str(), name.as_str()))?;
        }
        Ok(())
    }
}

/// The records of one scope within one database transaction.
pub(super) struct TableScope<'a, 't> {
    tables: &'a mut Tables<'t>,
    scope: &'a str,
    failure: RefCell<Option<StoreError>>,
}

impl TableScope<'_, '_> {
    /// Returns the error of the database, if it failed.
    pub(super) fn take_failure(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    fn record_failure<T>(&self, result: Result<T, StorageError>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = broken(error);
            self.failure.replace(Some(error.clone()));
            error
        })
    }

    fn read_first(&self, name: &str, limit: u32) -> Result<Vec<(i64, String)>, StorageError> {
        let mut found = Vec::new();
        let range = self.tables.order.range((self.scope, name, i64::MIN, "")..)?;
        for entry in range.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, _) = entry?;
            let (in_scope, of_index, score, member) = key.value();
            if (in_scope, of_index) != (self.scope, name) {
                break;
            }
            found.push((score, member.to_owned()));
        }
        Ok(found)
    }

    fn read_last_score(&self, name: &str) -> Result<Option<i64>, StorageError> {
        // The first possible name after this one.
        let beyond = format!("{name}\0");
        let mut range =
            self.tables.order.range((self.scope, name, i64::MIN, "")..(self.scope, beyond.as_str(), i64::MIN, ""))?;
        Ok(range.next_back().transpose()?.map(|(key, _)| key.value().2))
    }

    fn read_after(&self, name: &str, after: &str, limit: u32) -> Result<Vec<(i64, String)>, StorageError> {
        let mut found = Vec::new();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for entry in self.tables.scores.range((self.scope, name, after)..)? {
            let (key, score) = entry?;
            let (in_scope, of_index, member) = key.value();
            if found.len() == limit || (in_scope, of_index) != (self.scope, name) {
                break;
            }
            if after.is_empty() || member != after {
                found.push((score.value(), member.to_owned()));
            }
        }
        Ok(found)
    }

    fn read_log(&self, name: &str, after: u64, limit: u32) -> Result<Vec<LogEntry>, StorageError> {
        let mut found = Vec::new();
        let range = self.tables.entries.range((self.scope, name, after.saturating_add(1))..)?;
        for entry in range.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, pairs) = entry?;
            let (in_scope, of_log, number) = key.value();
            if (in_scope, of_log) != (self.scope, name) {
                break;
            }
            found.push(LogEntry { cursor: number.to_string(), fields: owned(&pairs.value()) });
        }
        Ok(found)
    }

    fn put_in_index(&mut self, name: &str, member: &str, score: i64) -> Result<(), StorageError> {
        let old = self.tables.scores.insert((self.scope, name, member), score)?.map(|old| old.value());
        if let Some(old) = old.filter(|old| *old != score) {
            self.tables.order.remove((self.scope, name, old, member))?;
        }
        self.tables.order.insert((self.scope, name, score, member), ()).map(drop)
    }

    fn remove_from_index(&mut self, name: &str, member: &str) -> Result<(), StorageError> {
        let old = self.tables.scores.remove((self.scope, name, member))?.map(|old| old.value());
        if let Some(old) = old {
            self.tables.order.remove((self.scope, name, old, member))?;
        }
        Ok(())
    }

    fn append_to_log(&mut self, name: &str, fields: &FieldMap, keep: Option<u32>) -> Result<(), StorageError> {
        let state = self.tables.logs.get((self.scope, name))?.map(|state| state.value());
        let (last, length) = state.unwrap_or_default();
        let (last, mut length) = (last + 1, length + 1);
        self.tables.entries.insert((self.scope, name, last), pairs(fields))?;
        while keep.is_some_and(|keep| length > u64::from(keep)) {
            self.tables.entries.remove((self.scope, name, last + 1 - length))?;
            length -= 1;
        }
        self.tables.logs.insert((self.scope, name), (last, length)).map(drop)
    }

    fn remove_log(&mut self, name: &str) -> Result<(), StorageError> {
        let Some(state) = self.tables.logs.remove((self.scope, name))? else { return Ok(()) };
        let (last, length) = state.value();
        drop(state);
        for entry in last + 1 - length..=last {
            self.tables.entries.remove((self.scope, name, entry))?;
        }
        Ok(())
    }

    fn put_hash(&mut self, name: &str, fields: Option<&FieldMap>) -> Result<(), StorageError> {
        match fields {
            Some(fields) => self.tables.hashes.insert((self.scope, name), pairs(fields)).map(drop),
            None => self.tables.hashes.remove((self.scope, name)).map(drop),
        }
    }

    fn put_packed(&mut self, name: &str, record: Option<&PackedRecord>) -> Result<(), StorageError> {
        match record {
            Some(record) => {
                let stored = (record.purge_at, record.value.as_str());
                self.tables.packed.insert((self.scope, name), stored).map(drop)
            }
            None => self.tables.packed.remove((self.scope, name)).map(drop),
        }
    }

    fn move_in_queue(&mut self, key: &Key, old: Option<i64>, new: Option<i64>) -> Result<(), StorageError> {
        let is_hash = key.kind == RecordKind::Hash;
        if let Some(old) = old {
            self.tables.purges.remove((old, is_hash, self.scope, key.name.as_str()))?;
        }
        if let Some(new) = new {
            self.tables.purges.insert((new, is_hash, self.scope, key.name.as_str()), ())?;
        }
        Ok(())
    }
}

fn pairs(fields: &FieldMap) -> Vec<(&str, &str)> {
    fields.iter().collect()
}

fn owned(pairs: &[(&str, &str)]) -> FieldMap {
    pairs.iter().copied().collect()
}

impl Records for TableScope<'_, '_> {
    fn hash(&self, name: &str) -> Result<Option<FieldMap>, StoreError> {
        let stored = self.record_failure(self.tables.hashes.get((self.scope, name)))?;
        Ok(stored.map(|pairs| owned(&pairs.value())))
    }

    fn packed(&self, name: &str) -> Result<Option<PackedRecord>, StoreError> {
        let stored = self.record_failure(self.tables.packed.get((self.scope, name)))?;
        Ok(stored.map(|record| {
            let (purge_at, value) = record.value();
            PackedRecord { value: value.to_owned(), purge_at }
        }))
    }

    fn index_first(&self, name: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
        self.record_failure(self.read_first(name, limit))
    }

    fn index_last_score(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.record_failure(self.read_last_score(name))
    }

    fn index_after(&self, name: &str, member: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
        self.record_failure(self.read_after(name, member, limit))
    }

    fn log_after(&self, name: &str, cursor: &str, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        let after = parse_entry_number(cursor)?;
        self.record_failure(self.read_log(name, after, limit))
    }

    fn write_hash(&mut self, name: &str, fields: Option<&FieldMap>) -> Result<(), StoreError> {
        let result = self.put_hash(name, fields);
        self.record_failure(result)
    }

    fn write_packed(&mut self, name: &str, record: Option<&PackedRecord>) -> Result<(), StoreError> {
        let result = self.put_packed(name, record);
        self.record_failure(result)
    }

    fn index_put(&mut self, name: &str, member: &str, score: i64) -> Result<(), StoreError> {
        let result = self.put_in_index(name, member, score);
        self.record_failure(result)
    }

    fn index_remove(&mut self, name: &str, member: &str) -> Result<(), StoreError> {
        let result = self.remove_from_index(name, member);
        self.record_failure(result)
    }

    fn append(&mut self, name: &str, fields: &FieldMap, keep: Option<u32>) -> Result<(), StoreError> {
        let result = self.append_to_log(name, fields, keep);
        self.record_failure(result)
    }

    fn clear_log(&mut self, name: &str) -> Result<(), StoreError> {
        let result = self.remove_log(name);
        self.record_failure(result)
    }

    fn move_purge(&mut self, key: &Key, old: Option<i64>, new: Option<i64>) -> Result<(), StoreError> {
        let result = self.move_in_queue(key, old, new);
        self.record_failure(result)
    }
}
