//! Whether a transaction is well formed, so that every store answers a malformed one alike, before it looks at a record.

use super::{cursor::CursorFormat, error::StoreError};
use crate::transaction::{
    Guard, Key, Linear, NUMBER_LIMIT, PURGE_AT, Read, RecordKind, RecordRef, Transaction, Value, Write,
};

/// Coefficients, constants and everything that is added up on the way to a value stay below this magnitude, up to which
/// doubles are exact. A step that would leave it is a fault, on every store at the same point.
pub(super) const EXACT_LIMIT: i64 = 1 << 53;

/// A fault if the transaction is malformed.
pub(super) fn validate(transaction: &Transaction, cursors: CursorFormat) -> Result<(), StoreError> {
    Check { transaction, cursors }.all().map_err(|reason| StoreError::fault(format!("malformed transaction: {reason}")))
}

struct Check<'a> {
    transaction: &'a Transaction,
    cursors: CursorFormat,
}

type Finding = Result<(), &'static str>;

fn ensure(condition: bool, otherwise: &'static str) -> Finding {
    if condition { Ok(()) } else { Err(otherwise) }
}

fn exact(number: i64) -> Finding {
    ensure(number.unsigned_abs() < EXACT_LIMIT.unsigned_abs(), "a coefficient or constant is out of range")
}

fn kept(number: i64) -> Finding {
    ensure(number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs(), "a number is out of range")
}

impl Check<'_> {
    fn all(&self) -> Finding {
        let scope = self.transaction.scope.as_str();
        // A brace would move the end of the hash tag that keeps a scope's keys on one Redis node.
        ensure(!scope.is_empty() && !scope.contains(['{', '}']), "the scope's name is empty or has a brace")?;
        for (place, record) in self.transaction.records.iter().enumerate() {
            let earlier = &self.transaction.records[..place];
            ensure(earlier.iter().all(|other| other.key.name != record.key.name), "a record is declared twice")?;
            self.read(&record.key, &record.read)?;
            ensure(record.start.is_empty() || record.key.kind == RecordKind::Hash, "only a hash starts with fields")?;
            for (_, value) in &record.start {
                self.value(value)?;
                if let Value::Greatest(linears) = value {
                    ensure(linears.iter().all(|linear| linear.terms.is_empty()), "a start counts on fields")?;
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
        ensure(fits, "a record is read in a way that its kind does not have")?;
        match read {
            Read::EntriesAfter { cursor, .. } if !cursor.is_empty() => {
                ensure(self.cursors.matches(cursor), "a cursor is not one of this store")
            }
            _ => Ok(()),
        }
    }

    fn is(&self, record: RecordRef, kinds: &[RecordKind]) -> Finding {
        let used = self.transaction.records.get(record.0).ok_or("a record is used but not declared")?;
        ensure(kinds.contains(&used.key.kind), "a record is used in a way that its kind does not have")
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
                kept(*number)?;
                self.is(*record, &[RecordKind::Hash])
            }
            Write::Set(record, field, value) => {
                let number = matches!(value, Value::Greatest(_));
                ensure(number || *field != PURGE_AT, "a purge time is no number")?;
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
        ensure(matches!(value, Value::Greatest(_)), "a score or a purge time is no number")?;
        self.value(value)
    }

    fn value(&self, value: &Value) -> Finding {
        match value {
            Value::Text(_) => Ok(()),
            Value::Greatest(linears) => {
                ensure(!linears.is_empty(), "the greatest of nothing")?;
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
