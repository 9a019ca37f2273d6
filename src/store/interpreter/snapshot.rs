//! The records of a transaction before it writes, and the evaluation of guards and expressions on them.

use std::fmt::Write as _;

use super::{
    super::{error::StoreError, validate::EXACT_LIMIT},
    records::Records,
};
use crate::transaction::{
    FieldMap, Guard, Linear, NUMBER_LIMIT, PURGE_AT, RecordKind, RecordRef, RecordUse, Transaction, Value,
};

/// Why a guard or a value cannot be evaluated.
pub(super) enum EvaluationError {
    /// It needs a record or a field that does not exist.
    Missing,
    /// The store failed, or the records or the transaction have a fault.
    Failed(StoreError),
}

impl From<StoreError> for EvaluationError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A record before the writes.
#[derive(Default)]
pub(super) struct RecordBefore {
    /// The fields of a hash. For an absent hash, the fields that it starts with.
    pub(super) fields: Option<FieldMap>,
    /// The value of a packed record.
    pub(super) value: Option<String>,
    /// Whether the record exists and its purge time has not passed.
    pub(super) present: bool,
    /// The stored purge time, whether it has passed or not.
    pub(super) purge_at: Option<i64>,
}

/// The records of a transaction before the writes.
pub(super) struct RecordSnapshot<'a> {
    pub(super) now_ms: i64,
    pub(super) uses: &'a [RecordUse],
    pub(super) before: Vec<RecordBefore>,
}

impl<'a> RecordSnapshot<'a> {
    pub(super) fn load(records: &impl Records, transaction: &'a Transaction, now_ms: i64) -> Result<Self, StoreError> {
        let mut snapshot = RecordSnapshot {
            now_ms,
            uses: &transaction.records,
            before: Vec::with_capacity(transaction.records.len()),
        };
        for used in &transaction.records {
            let before = match used.key.kind {
                RecordKind::Hash => snapshot.load_hash(records, used)?,
                RecordKind::Packed => match records.packed(&used.key.name)? {
                    Some(record) => {
                        let present = record.purge_at.is_none_or(|purge_at| purge_at > now_ms);
                        let value = present.then_some(record.value);
                        RecordBefore { fields: None, value, present, purge_at: record.purge_at }
                    }
                    None => RecordBefore::default(),
                },
                RecordKind::Index | RecordKind::Log => RecordBefore::default(),
            };
            snapshot.before.push(before);
        }
        Ok(snapshot)
    }

    fn load_hash(&self, records: &impl Records, used: &RecordUse) -> Result<RecordBefore, StoreError> {
        let stored = records.hash(&used.key.name)?;
        let purge_at = match &stored {
            Some(fields) => purge_time(fields)?,
            None => None,
        };
        let present = stored.is_some() && purge_at.is_none_or(|purge_at| purge_at > self.now_ms);
        let fields = if present {
            stored
        } else if used.start.is_empty() {
            None
        } else {
            let mut fields = FieldMap::default();
            let mut text = String::new();
            for (field, value) in &used.start {
                text.clear();
                match self.write_text(value, &mut text) {
                    Ok(()) => fields.set(field, &text),
                    Err(EvaluationError::Failed(error)) => return Err(error),
                    Err(EvaluationError::Missing) => {
                        return Err(StoreError::fault("the fields that a hash starts with depend on other fields"));
                    }
                }
            }
            Some(fields)
        };
        Ok(RecordBefore { fields, value: None, present, purge_at })
    }

    /// Returns whether a guard holds.
    pub(super) fn holds(&self, guard: &Guard, records: &impl Records) -> Result<bool, EvaluationError> {
        Ok(match guard {
            Guard::Absent(record) => !self.before[record.0].present,
            Guard::Present(record) => self.before[record.0].present,
            Guard::PackedEquals(record, value) => self.before[record.0].value.as_ref() == Some(value),
            Guard::FieldEquals(record, field, text) => self.field(*record, field)? == text,
            Guard::AtMostZero(linear) => self.linear(linear)? <= 0,
            Guard::NothingDue(record) => {
                let first = records.index_first(&self.uses[record.0].key.name, 1)?;
                first.first().is_none_or(|(score, _)| *score > self.now_ms)
            }
            Guard::NothingAhead(record) => {
                let last = records.index_last_score(&self.uses[record.0].key.name)?;
                last.is_none_or(|score| score <= self.now_ms)
            }
        })
    }

    /// Appends the text of a value. A number is written in decimal.
    pub(super) fn write_text(&self, value: &Value, texts: &mut String) -> Result<(), EvaluationError> {
        match value {
            Value::Text(text) => texts.push_str(text),
            Value::Greatest(_) => {
                // Writing to a string cannot fail.
                let _ = write!(texts, "{}", self.number(value)?);
            }
        }
        Ok(())
    }

    /// Returns the text of a value.
    pub(super) fn text(&self, value: &Value) -> Result<String, EvaluationError> {
        let mut text = String::new();
        self.write_text(value, &mut text)?;
        Ok(text)
    }

    /// Returns the number of a value, in the range that a store keeps.
    pub(super) fn number(&self, value: &Value) -> Result<i64, EvaluationError> {
        let Value::Greatest(linears) = value else {
            return Err(StoreError::fault("a value is a text and must be a number").into());
        };
        let mut greatest = i64::MIN;
        for linear in linears {
            greatest = greatest.max(self.linear(linear)?);
        }
        Ok(in_limit(greatest)?)
    }

    fn linear(&self, linear: &Linear) -> Result<i64, EvaluationError> {
        let mut sum = exact_sum(linear.constant, linear.now, self.now_ms)?;
        for (coefficient, record, field) in &linear.terms {
            sum = exact_sum(sum, *coefficient, parse(self.field(*record, field)?)?)?;
        }
        Ok(sum)
    }

    fn field(&self, record: RecordRef, field: &str) -> Result<&str, EvaluationError> {
        self.before[record.0].fields.as_ref().and_then(|fields| fields.text(field)).ok_or(EvaluationError::Missing)
    }
}

/// Returns sum + coefficient · factor. Fails if a double could not hold a part of it exactly: Redis computes with
/// doubles, and all stores must fail at the same point.
fn exact_sum(sum: i64, coefficient: i64, factor: i64) -> Result<i64, StoreError> {
    let exact = |number: &i64| number.unsigned_abs() < EXACT_LIMIT.unsigned_abs();
    coefficient
        .checked_mul(factor)
        .filter(exact)
        .and_then(|product| sum.checked_add(product))
        .filter(exact)
        .ok_or_else(|| StoreError::fault("an expression is out of range"))
}

/// Checks that a number is in the range that a store keeps.
pub(super) fn in_limit(number: i64) -> Result<i64, StoreError> {
    if number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs() {
        Ok(number)
    } else {
        Err(StoreError::fault("a number is out of range"))
    }
}

/// Returns the number in a field.
pub(super) fn parse(text: &str) -> Result<i64, StoreError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if decimal => in_limit(number),
        _ if decimal => Err(StoreError::fault("a number is out of range")),
        _ => Err(StoreError::fault("a field that is used as a number is not an integer")),
    }
}

/// Returns the purge time in a hash's field, if it has one.
pub(super) fn purge_time(fields: &FieldMap) -> Result<Option<i64>, StoreError> {
    fields.text(PURGE_AT).map(parse).transpose()
}
