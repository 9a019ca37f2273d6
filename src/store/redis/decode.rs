//! What the script answers, as the head of `transact.lua` describes it.

use redis::Value;

use super::{
    super::error::StoreError,
    trouble::{ServerState, Trouble},
};
use crate::transaction::{Fields, Kind, LogEntry, Outcome, Record, RecordUse, Reply, Transaction};

/// The replies to these transactions.
pub(super) fn decode(
    answer: Value,
    transactions: &[Transaction],
) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
    let mut parts = array(answer).ok_or_else(garbled)?.into_iter();
    let now_ms = parts.next().as_ref().and_then(number).ok_or_else(garbled)?;
    if parts.len() != transactions.len() {
        return Err(garbled());
    }
    Ok(transactions.iter().zip(parts).map(|(transaction, part)| reply(part, transaction, now_ms)).collect())
}

fn garbled() -> StoreError {
    StoreError::fault("the script's answer is not what it should be")
}

fn reply(part: Value, transaction: &Transaction, now_ms: i64) -> Result<Reply, StoreError> {
    let mut part = array(part).ok_or_else(garbled)?.into_iter();
    let code = part.next().as_ref().and_then(number).ok_or_else(garbled)?;
    let detail = part.next().ok_or_else(garbled)?;
    let place = || number(&detail).and_then(|place| usize::try_from(place).ok());
    let outcome = match code {
        0 => Outcome::Applied { option: place().ok_or_else(garbled)? },
        1 => Outcome::Stale { guard: place() },
        2 => Outcome::Refused,
        _ => {
            let message = text(detail).ok_or_else(garbled)?;
            return Err(match Trouble::told_by(&message) {
                Some(trouble) => StoreError::unavailable_because(trouble.reason(), ServerState(message)),
                None => StoreError::fault(message),
            });
        }
    };
    if part.len() != transaction.records.len() {
        return Err(garbled());
    }
    let records = transaction.records.iter().zip(part).map(|(used, part)| record(used, part).ok_or_else(garbled));
    Ok(Reply { now_ms, outcome, records: records.collect::<Result<_, _>>()? })
}

fn record(used: &RecordUse, part: Value) -> Option<Record> {
    if part == Value::Int(0) {
        return Some(Record::NotRead);
    }
    match (used.key.kind, part) {
        (Kind::Hash | Kind::Packed, Value::Nil) => Some(Record::Absent),
        (Kind::Hash, part) => Some(Record::Hash(fields(part)?)),
        (Kind::Packed, part) => Some(Record::Packed(text(part)?)),
        (Kind::Index, part) => {
            let entries = fields(part)?.0;
            let entries = entries.into_iter().map(|(member, score)| Some((score.parse().ok()?, member)));
            Some(Record::Index(entries.collect::<Option<_>>()?))
        }
        (Kind::Log, part) => Some(Record::Log(array(part)?.into_iter().map(entry).collect::<Option<_>>()?)),
    }
}

fn entry(part: Value) -> Option<LogEntry> {
    let mut part = array(part)?.into_iter();
    let cursor = text(part.next()?)?;
    Some(LogEntry { cursor, fields: fields(part.next()?)? })
}

fn fields(part: Value) -> Option<Fields> {
    let parts = array(part)?;
    let mut fields = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let Some(field) = parts.next() {
        fields.push((text(field)?, text(parts.next()?)?));
    }
    Some(Fields(fields))
}

fn array(part: Value) -> Option<Vec<Value>> {
    match part {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

fn text(part: Value) -> Option<String> {
    match part {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn number(part: &Value) -> Option<i64> {
    match part {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}
