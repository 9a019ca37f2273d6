//! Whether a transaction is well formed, so that every store answers a malformed one alike, before it looks at a record.

use super::error::StoreError;
use crate::transaction::{
    Guard, Key, Kind, Linear, NUMBER_LIMIT, PURGE_AT, Read, RecordRef, Transaction, Value, Write,
};

/// Coefficients, constants and everything that is added up on the way to a value stay below this magnitude, up to which
/// doubles are exact. A step that would leave it is a fault, on every store at the same point.
pub(super) const EXACT_LIMIT: i64 = 1 << 53;

/// How a store names the entries of its logs. A cursor of another form is found here, as it would otherwise be found only when
/// the log is read: after the changes.
#[derive(Clone, Copy)]
pub(super) enum Cursors {
    /// An entry's number.
    Numbers,
    /// The id of an entry in a Redis stream: a time and a number.
    Streams,
}

impl Cursors {
    pub(super) fn have(self, cursor: &str) -> bool {
        // As a store writes it: without a sign, and no zero before other digits.
        let is_number = |text: &str| text.parse().is_ok_and(|number: i64| number >= 0 && number.to_string() == text);
        match self {
            Self::Numbers => is_number(cursor),
            Self::Streams => cursor.split_once('-').is_some_and(|(time, place)| is_number(time) && is_number(place)),
        }
    }
}

/// A fault if the transaction is malformed.
pub(super) fn validate(transaction: &Transaction, cursors: Cursors) -> Result<(), StoreError> {
    Check { transaction, cursors }.all().map_err(|reason| StoreError::fault(format!("malformed transaction: {reason}")))
}

struct Check<'a> {
    transaction: &'a Transaction,
    cursors: Cursors,
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
            ensure(record.start.is_empty() || record.key.kind == Kind::Hash, "only a hash starts with fields")?;
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
            Read::Whole => matches!(key.kind, Kind::Hash | Kind::Packed),
            Read::First { .. } | Read::MembersAfter { .. } => key.kind == Kind::Index,
            Read::EntriesAfter { .. } => key.kind == Kind::Log,
        };
        ensure(fits, "a record is read in a way that its kind does not have")?;
        match read {
            Read::EntriesAfter { cursor, .. } if !cursor.is_empty() => {
                ensure(self.cursors.have(cursor), "a cursor is not one of this store")
            }
            _ => Ok(()),
        }
    }

    fn is(&self, record: RecordRef, kinds: &[Kind]) -> Finding {
        let used = self.transaction.records.get(record.0).ok_or("a record is used but not declared")?;
        ensure(kinds.contains(&used.key.kind), "a record is used in a way that its kind does not have")
    }

    fn guard(&self, guard: &Guard) -> Finding {
        match guard {
            Guard::Absent(record) | Guard::Present(record) => self.is(*record, &[Kind::Hash, Kind::Packed]),
            Guard::PackedEquals(record, _) => self.is(*record, &[Kind::Packed]),
            Guard::FieldEquals(record, _, _) => self.is(*record, &[Kind::Hash]),
            Guard::AtMostZero(linear) => self.linear(linear),
            Guard::NothingDue(record) | Guard::NothingAhead(record) => self.is(*record, &[Kind::Index]),
        }
    }

    fn write(&self, write: &Write) -> Finding {
        match write {
            Write::Add(record, _, number) | Write::AddIfPresent(record, _, number) => {
                kept(*number)?;
                self.is(*record, &[Kind::Hash])
            }
            Write::Set(record, field, value) => {
                let number = matches!(value, Value::Greatest(_));
                ensure(number || *field != PURGE_AT, "a purge time is no number")?;
                self.value(value)?;
                self.is(*record, &[Kind::Hash])
            }
            Write::Put(record, parts, purge_at) => {
                parts.iter().try_for_each(|part| self.value(part))?;
                purge_at.iter().try_for_each(|value| self.number(value))?;
                self.is(*record, &[Kind::Packed])
            }
            Write::Delete(record) => self.is(*record, &[Kind::Hash, Kind::Packed, Kind::Log]),
            Write::IndexPut(record, _, score) => {
                self.number(score)?;
                self.is(*record, &[Kind::Index])
            }
            Write::IndexRemove(record, _) => self.is(*record, &[Kind::Index]),
            Write::Append { log, fields, keep: _ } => {
                ensure(!fields.is_empty(), "an entry of a log has no fields")?;
                fields.iter().try_for_each(|(_, value)| self.value(value))?;
                self.is(*log, &[Kind::Log])
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
            self.is(*record, &[Kind::Hash])
        })
    }
}
