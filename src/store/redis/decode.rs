//! Decodes the answer of the script. The head of `transact.lua` specifies the format.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use redis::Value;
use rmp::{Marker, decode};

use super::{
    super::error::StoreError,
    opcodes,
    server_failure::{ServerFailure, ServerMessage},
};
use crate::transaction::{FieldMap, LogEntry, Outcome, Record, RecordKind, RecordUse, Reply, Scope, Transaction};

/// Typical number of fields of a hash. It is the initial capacity.
const TYPICAL_FIELDS: usize = 12;

/// Typical length of a field's name and value, in bytes.
const TYPICAL_FIELD_BYTES: usize = 20;

/// In place of a record: it was not read.
const NOT_READ: Marker = Marker::FixPos(0);

/// In place of a record: it does not exist.
const ABSENT: Marker = Marker::False;

/// In front of the changed fields of a hash that an earlier reply contains.
const CHANGES: Marker = Marker::True;

/// Decodes the replies to these transactions.
pub(super) fn decode<'a, 't: 'a>(
    answer: &'a Value,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
    let Value::BulkString(answer) = answer else { return Err(malformed()) };
    let mut reader = ReplyReader {
        rest: answer,
        returned: HashMap::default(),
        is_batch: transactions.clone().nth(1).is_some(),
        is_damaged: false,
    };
    let replies = reader.number().and_then(|now_ms| {
        transactions.map(|transaction| reader.reply(transaction, now_ms)).collect::<Option<Vec<_>>>()
    });
    replies.filter(|_| reader.rest.is_empty()).ok_or_else(malformed)
}

fn malformed() -> StoreError {
    StoreError::fault("the script's answer is malformed")
}

/// Reads an answer from front to back. Each method returns `None` if the answer ends too early or has another type
/// there.
struct ReplyReader<'a> {
    /// The bytes that were not read yet.
    rest: &'a [u8],
    /// The hashes in earlier replies, by scope and name. A later reply contains only the fields that have changed
    /// since.
    returned: HashMap<(&'a Scope, &'a str), FieldMap, RandomState>,
    /// Whether there is more than one transaction, so that `returned` is needed.
    is_batch: bool,
    /// Whether the present reply contains an invalid value. The replies after it can still be read.
    is_damaged: bool,
}

impl<'a> ReplyReader<'a> {
    fn reply(&mut self, transaction: &'a Transaction, now_ms: i64) -> Option<Result<Reply, StoreError>> {
        let code = self.number()?;
        if code == opcodes::FAULT {
            let message = self.text()?;
            return Some(Err(match ServerFailure::from_message(message) {
                Some(failure) => StoreError::unavailable_because(failure.reason(), ServerMessage(message.to_owned())),
                None => StoreError::fault(message),
            }));
        }
        // NO_GUARD is negative, and so becomes `None`.
        let position = usize::try_from(self.number()?).ok();
        let outcome = match code {
            opcodes::APPLIED => Outcome::Applied { option: position? },
            opcodes::STALE => Outcome::Stale { guard: position },
            opcodes::REFUSED => Outcome::Refused,
            _ => return None,
        };
        let records =
            transaction.records.iter().map(|used| self.record(&transaction.scope, used)).collect::<Option<_>>()?;
        let is_damaged = std::mem::take(&mut self.is_damaged);
        Some(if is_damaged { Err(malformed()) } else { Ok(Reply { now_ms, outcome, records }) })
    }

    fn record(&mut self, scope: &'a Scope, used: &'a RecordUse) -> Option<Record> {
        if self.skip(NOT_READ)? {
            return Some(Record::NotRead);
        }
        if matches!(used.key.kind, RecordKind::Hash | RecordKind::Packed) && self.skip(ABSENT)? {
            return Some(Record::Absent);
        }
        Some(match used.key.kind {
            RecordKind::Hash => Record::Hash(self.hash(scope, &used.key.name)?),
            RecordKind::Packed => Record::Packed(self.text()?.to_owned()),
            RecordKind::Index => {
                let entries = self.length()? / 2;
                let entry = |reader: &mut Self| {
                    let member = reader.text()?.to_owned();
                    let score = reader.text()?.parse();
                    reader.is_damaged |= score.is_err();
                    Some((score.unwrap_or_default(), member))
                };
                Record::Index((0..entries).map(|_| entry(self)).collect::<Option<_>>()?)
            }
            RecordKind::Log => {
                let entries = self.length()?;
                Record::Log((0..entries).map(|_| self.entry()).collect::<Option<_>>()?)
            }
        })
    }

    fn entry(&mut self) -> Option<LogEntry> {
        if self.length()? != 2 {
            return None;
        }
        let cursor = self.text()?.to_owned();
        Some(LogEntry { cursor, fields: self.fields()? })
    }

    fn hash(&mut self, scope: &'a Scope, name: &'a str) -> Option<FieldMap> {
        let fields = if self.skip(CHANGES)? {
            let mut fields = self.returned.remove(&(scope, name))?;
            self.each_field(|field, value| fields.set(field, value))?;
            fields
        } else {
            self.fields()?
        };
        if self.is_batch {
            self.returned.insert((scope, name), fields.clone());
        }
        Some(fields)
    }

    fn fields(&mut self) -> Option<FieldMap> {
        let mut fields = FieldMap::with_capacity(TYPICAL_FIELDS, TYPICAL_FIELDS * TYPICAL_FIELD_BYTES);
        self.each_field(|field, value| fields.push(field, value))?;
        Some(fields)
    }

    fn each_field(&mut self, mut take: impl FnMut(&str, &str)) -> Option<()> {
        for _ in 0..self.length()? / 2 {
            let name = self.text()?;
            // Values that the script has computed or used as numbers are numbers; all others are texts.
            match Marker::from_u8(*self.rest.first()?) {
                Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => take(name, self.text()?),
                _ => take(name, &self.number()?.to_string()),
            }
        }
        Some(())
    }

    /// Skips the next byte if it is this marker. Returns whether it was.
    fn skip(&mut self, marker: Marker) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        let is_marker = *first == marker.to_u8();
        if is_marker {
            self.rest = rest;
        }
        Some(is_marker)
    }

    fn length(&mut self) -> Option<usize> {
        let length = decode::read_array_len(&mut self.rest).ok()?;
        // Each element has at least one byte. This bounds the memory that a wrong length can allocate.
        usize::try_from(length).ok().filter(|length| *length <= self.rest.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(decode::read_str_len(&mut self.rest).ok()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let text = std::str::from_utf8(bytes);
        self.is_damaged |= text.is_err();
        Some(text.unwrap_or_default())
    }

    fn number(&mut self) -> Option<i64> {
        decode::read_int(&mut self.rest).ok()
    }
}
