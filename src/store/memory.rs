//! A store in the memory of this process, for tests and for trying Tollgate out. It must not know what its records
//! mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use dashmap::DashMap;

use super::{
    cursor::parse_entry_number,
    error::StoreError,
    interpreter::{PackedRecord, Records, execute},
};
use crate::{
    clock::Clock,
    transaction::{FieldMap, Key, LogEntry, RecordKind, Reply, Scope, Transaction},
};

/// Maximum number of due records that one call purges. A call writes fewer records with a purge time than this, so
/// purging keeps up; and the limit bounds the work that a call does for others.
const PURGES_PER_CALL: usize = 16;

/// A store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<MemoryInner>,
}

struct MemoryInner {
    clock: Clock,
    /// The latest time in any reply, so that the time never goes back.
    last_ms: AtomicI64,
    scopes: DashMap<Scope, ScopeRecords>,
    /// The records that have a purge time, ordered by it. Lock order: first the entry of a scope, then this.
    purges: Mutex<BTreeSet<(i64, Scope, Key)>>,
}

#[derive(Default)]
struct ScopeRecords {
    hashes: BTreeMap<String, FieldMap>,
    packed: BTreeMap<String, PackedRecord>,
    indexes: BTreeMap<String, MemoryIndex>,
    logs: BTreeMap<String, MemoryLog>,
}

#[derive(Default)]
struct MemoryIndex {
    scores: BTreeMap<Arc<str>, i64>,
    order: BTreeSet<(i64, Arc<str>)>,
}

#[derive(Default)]
struct MemoryLog {
    entries: BTreeMap<u64, FieldMap>,
    last: u64,
}

impl MemoryStore {
    pub(super) fn new(clock: Clock) -> Self {
        let inner = MemoryInner {
            clock,
            last_ms: AtomicI64::new(0),
            scopes: DashMap::new(),
            purges: Mutex::new(BTreeSet::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn transact_all(&self, transactions: &[Transaction]) -> Vec<Result<Reply, StoreError>> {
        transactions.iter().map(|transaction| self.transact(transaction)).collect()
    }

    pub(super) fn transact(&self, transaction: &Transaction) -> Result<Reply, StoreError> {
        let scope = &transaction.scope;
        let mut records = self.inner.scopes.entry(scope.clone()).or_default();
        // Read the time under the entry's lock, so that it does not go back between two transactions on one scope.
        let now_ms = self.inner.now_ms();
        let mut in_scope = MemoryScope { scope, records: &mut records, purges: &self.inner.purges };
        let executed = execute(&mut in_scope, transaction, now_ms);
        let empty = records.is_empty();
        drop(records);
        if empty {
            self.inner.scopes.remove_if(scope, |_, records| records.is_empty());
        }
        self.inner.purge();
        executed.map(|executed| executed.reply)
    }
}

impl MemoryInner {
    fn now_ms(&self) -> i64 {
        let now_ms = self.clock.now_ms();
        self.last_ms.fetch_max(now_ms, Ordering::SeqCst).max(now_ms)
    }

    fn purge(&self) {
        let now_ms = self.now_ms();
        for _ in 0..PURGES_PER_CALL {
            let due = {
                let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
                match purges.first() {
                    Some((purge_at, _, _)) if *purge_at <= now_ms => purges.pop_first(),
                    _ => None,
                }
            };
            let Some((purge_at, scope, key)) = due else { return };
            if let Some(mut records) = self.scopes.get_mut(&scope) {
                records.remove_if_still_due(purge_at, &key);
            }
            self.scopes.remove_if(&scope, |_, records| records.is_empty());
        }
    }
}

impl ScopeRecords {
    /// Removes the record, unless it was replaced by one with another purge time after it was taken from the queue.
    fn remove_if_still_due(&mut self, purge_at: i64, key: &Key) {
        if key.kind == RecordKind::Hash {
            let text = purge_at.to_string();
            let stored = self.hashes.get(&key.name).and_then(|fields| fields.text(crate::transaction::PURGE_AT));
            if stored == Some(text.as_str()) {
                self.hashes.remove(&key.name);
            }
        } else if self.packed.get(&key.name).is_some_and(|record| record.purge_at == Some(purge_at)) {
            self.packed.remove(&key.name);
        }
    }

    fn is_empty(&self) -> bool {
        self.hashes.is_empty() && self.packed.is_empty() && self.indexes.is_empty() && self.logs.is_empty()
    }
}

/// One scope's records while a transaction is carried out.
struct MemoryScope<'a> {
    scope: &'a Scope,
    records: &'a mut ScopeRecords,
    purges: &'a Mutex<BTreeSet<(i64, Scope, Key)>>,
}

/// Changes the record of this name, and creates it if it does not exist. The name is copied only in that case.
fn change<Record: Default>(records: &mut BTreeMap<String, Record>, name: &str, change: impl FnOnce(&mut Record)) {
    match records.get_mut(name) {
        Some(record) => change(record),
        None => change(records.entry(name.to_owned()).or_default()),
    }
}

fn as_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

impl Records for MemoryScope<'_> {
    fn hash(&self, name: &str) -> Result<Option<FieldMap>, StoreError> {
        Ok(self.records.hashes.get(name).cloned())
    }

    fn packed(&self, name: &str) -> Result<Option<PackedRecord>, StoreError> {
        Ok(self.records.packed.get(name).cloned())
    }

    fn index_first(&self, name: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
        let index = self.records.indexes.get(name);
        let entry = |(score, member): &(i64, Arc<str>)| (*score, member.as_ref().to_owned());
        Ok(index.map(|index| index.order.iter().take(as_usize(limit)).map(entry).collect()).unwrap_or_default())
    }

    fn index_last_score(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let index = self.records.indexes.get(name);
        Ok(index.and_then(|index| index.order.last()).map(|(score, _)| *score))
    }

    fn index_after(&self, name: &str, member: &str, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
        let from = if member.is_empty() { Bound::Unbounded } else { Bound::Excluded(member) };
        let Some(index) = self.records.indexes.get(name) else { return Ok(Vec::new()) };
        let after = index.scores.range::<str, _>((from, Bound::Unbounded)).take(as_usize(limit));
        Ok(after.map(|(member, score)| (*score, member.as_ref().to_owned())).collect())
    }

    fn log_after(&self, name: &str, cursor: &str, limit: u32) -> Result<Vec<LogEntry>, StoreError> {
        let after = parse_entry_number(cursor)?;
        let Some(log) = self.records.logs.get(name) else { return Ok(Vec::new()) };
        let entries = log.entries.range((Bound::Excluded(after), Bound::Unbounded)).take(as_usize(limit));
        Ok(entries.map(|(number, fields)| LogEntry { cursor: number.to_string(), fields: fields.clone() }).collect())
    }

    fn write_hash(&mut self, name: &str, fields: Option<&FieldMap>) -> Result<(), StoreError> {
        match fields {
            Some(fields) => change(&mut self.records.hashes, name, |stored| stored.clone_from(fields)),
            None => drop(self.records.hashes.remove(name)),
        }
        Ok(())
    }

    fn write_packed(&mut self, name: &str, record: Option<&PackedRecord>) -> Result<(), StoreError> {
        match record {
            Some(record) => self.records.packed.insert(name.to_owned(), record.clone()),
            None => self.records.packed.remove(name),
        };
        Ok(())
    }

    fn index_put(&mut self, name: &str, member: &str, score: i64) -> Result<(), StoreError> {
        change(&mut self.records.indexes, name, |index| {
            let member = match index.scores.remove_entry(member) {
                Some((member, old)) => {
                    index.order.remove(&(old, Arc::clone(&member)));
                    member
                }
                None => member.into(),
            };
            index.scores.insert(Arc::clone(&member), score);
            index.order.insert((score, member));
        });
        Ok(())
    }

    fn index_remove(&mut self, name: &str, member: &str) -> Result<(), StoreError> {
        if let Some(index) = self.records.indexes.get_mut(name) {
            if let Some((member, score)) = index.scores.remove_entry(member) {
                index.order.remove(&(score, member));
            }
            if index.scores.is_empty() {
                self.records.indexes.remove(name);
            }
        }
        Ok(())
    }

    fn append(&mut self, name: &str, fields: &FieldMap, keep: Option<u32>) -> Result<(), StoreError> {
        change(&mut self.records.logs, name, |log| {
            log.last += 1;
            log.entries.insert(log.last, fields.clone());
            while keep.is_some_and(|keep| log.entries.len() > as_usize(keep)) {
                log.entries.pop_first();
            }
        });
        Ok(())
    }

    fn clear_log(&mut self, name: &str) -> Result<(), StoreError> {
        self.records.logs.remove(name);
        Ok(())
    }

    fn move_purge(&mut self, key: &Key, old: Option<i64>, new: Option<i64>) -> Result<(), StoreError> {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old {
            purges.remove(&(old, self.scope.clone(), key.clone()));
        }
        if let Some(new) = new {
            purges.insert((new, self.scope.clone(), key.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        transaction::{Read, Value, Write},
    };

    fn put(scope: &Scope, name: &str, purge_in_ms: i64) -> Transaction {
        let mut step = Transaction::on(scope.clone());
        let record = step.record(Key::packed(name), Read::Nothing);
        step.option(vec![], vec![Write::Put(record, vec!["x".into()], Some(Value::now_plus(purge_in_ms)))]);
        step
    }

    #[test]
    fn purged_records_of_an_unused_scope_take_no_memory() {
        let clock = ManualClock::at(1_000);
        let store = MemoryStore::new(Clock::Manual(clock.clone()));
        for number in 0..100 {
            store.transact_all(&[put(&Scope::new(&format!("team-{number}")), "r", 10)]);
        }
        assert_eq!(store.inner.scopes.len(), 100);
        clock.advance_ms(10);
        for _ in 0..=(100 / PURGES_PER_CALL) {
            store.transact_all(&[Transaction::on(Scope::new("other"))]);
        }
        assert_eq!(store.inner.purges.lock().unwrap().len(), 0);
        assert!(store.inner.scopes.len() <= 1, "{}", store.inner.scopes.len());
    }

    #[test]
    fn a_replaced_record_is_purged_at_its_new_time_only() {
        let clock = ManualClock::at(1_000);
        let store = MemoryStore::new(Clock::Manual(clock.clone()));
        let scope = Scope::new("team");
        store.transact_all(&[put(&scope, "r", 10)]);
        store.transact_all(&[put(&scope, "r", 1_000)]);
        assert_eq!(store.inner.purges.lock().unwrap().len(), 1);
        clock.advance_ms(500);
        store.transact_all(&[Transaction::on(scope.clone())]);
        assert!(store.inner.scopes.get(&scope).unwrap().packed.contains_key("r"));
    }
}
