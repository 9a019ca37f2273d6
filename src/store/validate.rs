//! Refuses malformed transactions, before a store reads any record. So all stores answer them alike.

use super::{cursor::CursorFormat, error::StoreError};
use crate::transaction::{
    Guard, Key, Linear, NUMBER_LIMIT, PURGE_AT, Read, RecordKind, RecordRef, Transaction, Value, Write,
};

/// Limit on the magnitude of coefficients, constants and intermediate sums. Below it, doubles are exact: Redis computes
/// with doubles. A transaction that reaches it has a fault, in every store at the same point.
pub(super) const EXACT_LIMIT: i64 = 1 << 53;

/// Returns a fault if the transaction is malformed.
pub(super) fn validate(transaction: &Transaction, cursors: CursorFormat) -> Result<(), StoreError> {
    Check { transaction, cursors }.all().map_err(|reason| StoreError::fault(format!("malformed transaction: {reason}")))
}

struct Check<'a> {
    transaction: &'a Transaction,
    cursors: CursorFormat,
}

/// What is wrong with a part of the transaction, if anything.
type Finding = Result<(), &'static str>;

fn ensure(condition: bool, otherwise: &'static str) -> Finding {
    if condition { Ok(()) } else { Err(otherwise) }
}

fn exact(number: i64) -> Finding {
    ensure(number.unsigned_abs() < EXACT_LIMIT.unsigned_abs(), "a coefficient or constant is out of range")
}

fn in_limit(number: i64) -> Finding {
    ensure(number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs(), "a number is out of range")
}

impl Check<'_> {
    fn all(&self) -> Finding {
        let scope = self.transaction.scope.as_str();
        // A brace would change the hash tag, which keeps the keys of a scope on one server of a cluster.
        ensure(!scope.is_empty() && !scope.contains(['{', '}']), "the scope's name is empty or contains a brace")?;
        for (position, record) in self.transaction.records.iter().enumerate() {
            let earlier = &self.transaction.records[..position];
            ensure(earlier.iter().all(|other| other.key.name != record.key.name), "a record is declared twice")?;
            self.read(&record.key, &record.read)?;
            ensure(
                record.start.is_empty() || record.key.kind == RecordKind::Hash,
                "a record that is not a hash starts with fields",
            )?;
            for (_, value) in &record.start {
                self.value(value)?;
                if let Value::Greatest(linears) = value {
                    ensure(
                        linears.iter().all(|linear| linear.terms.is_empty()),
                        "the fields that a hash starts with depend on other fields",
                    )?;
                }
            }
        }
        for guard in &self.transaction.require {
            self.guard(guard)?;
        }
        for choice in &self.transaction.options {
            for guard in &choice.guards {
                self.guard(guard)?;
            }
            for write in &choice.writes {
                self.write(write)?;
            }
        }
        Ok(())
    }

    fn read(&self, key: &Key, read: &Read) -> Finding {
        let fits = match read {
            Read::Nothing => true,
            Read::Whole => matches!(key.kind, RecordKind::Hash | RecordKind::Packed),
            Read::First { .. } | Read::MembersAfter { .. } => key.kind == RecordKind::Index,
            Read::EntriesAfter { .. } => key.kind == RecordKind::Log,
        };
        ensure(fits, "a record is read in a way that its kind does not support")?;
        match read {
            Read::EntriesAfter { cursor, .. } if !cursor.is_empty() => {
                ensure(self.cursors.matches(cursor), "a cursor is not one of this store")
            }
            _ => Ok(()),
        }
    }

    fn is(&self, record: RecordRef, kinds: &[RecordKind]) -> Finding {
        let used = self.transaction.records.get(record.0).ok_or("a record is used but not declared")?;
        ensure(kinds.contains(&used.key.kind), "a record is used in a way that its kind does not support")
    }

    fn guard(&self, guard: &Guard) -> Finding {
        match guard {
            Guard::Absent(record) | Guard::Present(record) => self.is(*record, &[RecordKind::Hash, RecordKind::Packed]),
            Guard::PackedEquals(record, _) => self.is(*record, &[RecordKind::Packed]),
            Guard::FieldEquals(record, _, _) => self.is(*record, &[RecordKind::Hash]),
            Guard::AtMostZero(linear) => self.linear(linear),
            Guard::NothingDue(record) | Guard::NothingAhead(record) => self.is(*record, &[RecordKind::Index]),
        }
    }

    fn write(&self, write: &Write) -> Finding {
        match write {
            Write::Add(record, _, number) | Write::AddIfPresent(record, _, number) => {
                in_limit(*number)?;
                self.is(*record, &[RecordKind::Hash])
            }
            Write::Set(record, field, value) => {
                let number = matches!(value, Value::Greatest(_));
                ensure(number || *field != PURGE_AT, "a purge time is not a number")?;
                self.value(value)?;
                self.is(*record, &[RecordKind::Hash])
            }
            Write::Put(record, parts, purge_at) => {
                parts.iter().try_for_each(|part| self.value(part))?;
                purge_at.iter().try_for_each(|value| self.number(value))?;
                self.is(*record, &[RecordKind::Packed])
            }
            Write::Delete(record) => self.is(*record, &[RecordKind::Hash, RecordKind::Packed, RecordKind::Log]),
            Write::IndexPut(record, _, score) => {
                self.number(score)?;
                self.is(*record, &[RecordKind::Index])
            }
            Write::IndexRemove(record, _) => self.is(*record, &[RecordKind::Index]),
            Write::Append { log, fields, keep: _ } => {
                ensure(!fields.is_empty(), "an entry of a log has no fields")?;
                fields.iter().try_for_each(|(_, value)| self.value(value))?;
                self.is(*log, &[RecordKind::Log])
            }
        }
    }

    fn number(&self, value: &Value) -> Finding {
        ensure(matches!(value, Value::Greatest(_)), "a score or a purge time is not a number")?;
        self.value(value)
    }

    fn value(&self, value: &Value) -> Finding {
        match value {
            Value::Text(_) => Ok(()),
            Value::Greatest(linears) => {
                ensure(!linears.is_empty(), "a value is the greatest of no expressions")?;
                linears.iter().try_for_each(|linear| self.linear(linear))
            }
        }
    }

    fn linear(&self, linear: &Linear) -> Finding {
        exact(linear.now)?;
        exact(linear.constant)?;
        linear.terms.iter().try_for_each(|(coefficient, record, _)| {
            exact(*coefficient)?;
            self.is(*record, &[RecordKind::Hash])
        })
    }
}
