//! The records as they are before a step, and what its guards and expressions make of them.

use std::fmt::Write as _;

use super::{
    super::{error::StoreError, validate::EXACT_LIMIT},
    records::Records,
};
use crate::transaction::{
    FieldMap, Guard, Linear, NUMBER_LIMIT, PURGE_AT, RecordKind, RecordRef, RecordUse, Transaction, Value,
};

/// Why a guard or a value has no answer.
pub(super) enum EvaluationError {
    /// A record or a field that it counts on is missing.
    Missing,
    /// A fault, or the store did not answer.
    Failed(StoreError),
}

impl From<StoreError> for EvaluationError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A record before the step.
#[derive(Default)]
pub(super) struct RecordBefore {
    /// A hash's fields; of an absent hash those that it starts with.
    pub(super) fields: Option<FieldMap>,
    /// A packed record's value.
    pub(super) value: Option<String>,
    /// Whether it exists: it is kept, and its purge time has not come.
    pub(super) present: bool,
    /// The purge time that is kept, come or not.
    pub(super) purge_at: Option<i64>,
}

/// The records of a transaction before the step.
pub(super) struct Snapshot<'a> {
    pub(super) now_ms: i64,
    pub(super) uses: &'a [RecordUse],
    pub(super) before: Vec<RecordBefore>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn load(records: &impl Records, transaction: &'a Transaction, now_ms: i64) -> Result<Self, StoreError> {
        let mut snapshot =
            Snapshot { now_ms, uses: &transaction.records, before: Vec::with_capacity(transaction.records.len()) };
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
        let kept = records.hash(&used.key.name)?;
        let purge_at = match &kept {
            Some(fields) => purge_time(fields)?,
            None => None,
        };
        let present = kept.is_some() && purge_at.is_none_or(|purge_at| purge_at > self.now_ms);
        let fields = if present {
            kept
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
                    Err(EvaluationError::Missing) => return Err(StoreError::fault("a start counts on fields")),
                }
            }
            Some(fields)
        };
        Ok(RecordBefore { fields, value: None, present, purge_at })
    }

    /// Whether a guard holds.
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

    /// Appends a value, in decimal or as it is.
    pub(super) fn write_text(&self, value: &Value, texts: &mut String) -> Result<(), EvaluationError> {
        match value {
            Value::Text(text) => texts.push_str(text),
            Value::Greatest(_) => {
                // Writing to a text cannot fail.
                let _ = write!(texts, "{}", self.number(value)?);
            }
        }
        Ok(())
    }

    /// A value in decimal, or as it is.
    pub(super) fn text(&self, value: &Value) -> Result<String, EvaluationError> {
        let mut text = String::new();
        self.write_text(value, &mut text)?;
        Ok(text)
    }

    /// A value that is a number to be kept.
    pub(super) fn number(&self, value: &Value) -> Result<i64, EvaluationError> {
        let Value::Greatest(linears) = value else {
            return Err(StoreError::fault("a text stands where a number has to").into());
        };
        let mut greatest = i64::MIN;
        for linear in linears {
            greatest = greatest.max(self.linear(linear)?);
        }
        Ok(kept(greatest)?)
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

/// sum + coefficient · factor, as long as doubles could hold each part exactly.
fn exact_sum(sum: i64, coefficient: i64, factor: i64) -> Result<i64, StoreError> {
    let exact = |number: &i64| number.unsigned_abs() < EXACT_LIMIT.unsigned_abs();
    coefficient
        .checked_mul(factor)
        .filter(exact)
        .and_then(|product| sum.checked_add(product))
        .filter(exact)
        .ok_or_else(|| StoreError::fault("an expression is out of range"))
}

/// A number that may be kept.
pub(super) fn kept(number: i64) -> Result<i64, StoreError> {
    if number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs() {
        Ok(number)
    } else {
        Err(StoreError::fault("a number is out of range"))
    }
}

/// A field's number.
pub(super) fn parse(text: &str) -> Result<i64, StoreError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if decimal => kept(number),
        _ if decimal => Err(StoreError::fault("a number is out of range")),
        _ => Err(StoreError::fault("a field that counts is no integer")),
    }
}

/// The purge time that stands in a hash.
pub(super) fn purge_time(fields: &FieldMap) -> Result<Option<i64>, StoreError> {
    fields.text(PURGE_AT).map(parse).transpose()
}
