//! What the script answers, as the head of `transact.lua` describes it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use redis::Value;
use rmp::{Marker, decode};

use super::{
    super::error::StoreError,
    server_failure::{ServerState, Trouble},
};
use crate::transaction::{FieldMap, LogEntry, Outcome, Record, RecordKind, RecordUse, Reply, Scope, Transaction};

/// A hash has no more fields than this, more often than not.
const USUAL_FIELDS: usize = 12;

/// What a field's name and value take.
const USUAL_FIELD_BYTES: usize = 20;

/// The replies to these transactions.
pub(super) fn decode<'a, 't: 'a>(
    answer: &'a Value,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
    let Value::BulkString(answer) = answer else { return Err(garbled()) };
    let mut answer = Answer {
        rest: answer,
        told: HashMap::default(),
        shared: transactions.clone().nth(1).is_some(),
        damaged: false,
    };
    let read = answer.number().and_then(|now_ms| {
        transactions.map(|transaction| answer.reply(transaction, now_ms)).collect::<Option<Vec<_>>>()
    });
    read.filter(|_| answer.rest.is_empty()).ok_or_else(garbled)
}

fn garbled() -> StoreError {
    StoreError::fault("the script's answer is not what it should be")
}

/// What of an answer was not read yet. Where it does not end as it should, it reads as none.
struct Answer<'a> {
    rest: &'a [u8],
    /// The hashes that earlier transactions were told, by scope and name, as they are by now: a later one is told only what is new.
    told: HashMap<(&'a Scope, &'a str), FieldMap, RandomState>,
    /// Whether there is more than one transaction.
    shared: bool,
    /// Whether something that was read for this transaction is not what it should be, though what comes after it can be read.
    damaged: bool,
}

impl<'a> Answer<'a> {
    fn reply(&mut self, transaction: &'a Transaction, now_ms: i64) -> Option<Result<Reply, StoreError>> {
        let code = self.number()?;
        if code == 3 {
            let message = self.text()?;
            return Some(Err(match Trouble::told_by(message) {
                Some(trouble) => StoreError::unavailable_because(trouble.reason(), ServerState(message.to_owned())),
                None => StoreError::fault(message),
            }));
        }
        let place = usize::try_from(self.number()?).ok();
        let outcome = match code {
            0 => Outcome::Applied { option: place? },
            1 => Outcome::Stale { guard: place },
            2 => Outcome::Refused,
            _ => return None,
        };
        let records =
            transaction.records.iter().map(|used| self.record(&transaction.scope, used)).collect::<Option<_>>()?;
        let damaged = std::mem::take(&mut self.damaged);
        Some(if damaged { Err(garbled()) } else { Ok(Reply { now_ms, outcome, records }) })
    }

    fn record(&mut self, scope: &'a Scope, used: &'a RecordUse) -> Option<Record> {
        if self.next_is(Marker::FixPos(0))? {
            return Some(Record::NotRead);
        }
        if matches!(used.key.kind, RecordKind::Hash | RecordKind::Packed) && self.next_is(Marker::False)? {
            return Some(Record::Absent);
        }
        Some(match used.key.kind {
            RecordKind::Hash => Record::Hash(self.hash(scope, &used.key.name)?),
            RecordKind::Packed => Record::Packed(self.text()?.to_owned()),
            RecordKind::Index => {
                let entries = self.length()? / 2;
                let entry = |answer: &mut Self| {
                    let member = answer.text()?.to_owned();
                    let score = answer.text()?.parse();
                    answer.damaged |= score.is_err();
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
        let fields = if self.next_is(Marker::True)? {
            let mut fields = self.told.remove(&(scope, name))?;
            self.each_field(|field, value| fields.set(field, value))?;
            fields
        } else {
            self.fields()?
        };
        if self.shared {
            self.told.insert((scope, name), fields.clone());
        }
        Some(fields)
    }

    fn fields(&mut self) -> Option<FieldMap> {
        let mut fields = FieldMap::with_room(USUAL_FIELDS, USUAL_FIELDS * USUAL_FIELD_BYTES);
        self.each_field(|field, value| fields.push(field, value))?;
        Some(fields)
    }

    fn each_field(&mut self, mut take: impl FnMut(&str, &str)) -> Option<()> {
        for _ in 0..self.length()? / 2 {
            let name = self.text()?;
            // What the script has counted itself, it gives as a number.
            match Marker::from_u8(*self.rest.first()?) {
                Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => take(name, self.text()?),
                _ => take(name, &self.number()?.to_string()),
            }
        }
        Some(())
    }

    /// Whether this comes next; if so, it is taken.
    fn next_is(&mut self, marker: Marker) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        let is_next = *first == marker.to_u8();
        if is_next {
            self.rest = rest;
        }
        Some(is_next)
    }

    fn length(&mut self) -> Option<usize> {
        let length = decode::read_array_len(&mut self.rest).ok()?;
        // Each element takes a byte at least, so that a length which says more than there is makes no room for it.
        usize::try_from(length).ok().filter(|length| *length <= self.rest.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(decode::read_str_len(&mut self.rest).ok()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let text = std::str::from_utf8(bytes);
        self.damaged |= text.is_err();
        Some(text.unwrap_or_default())
    }

    fn number(&mut self) -> Option<i64> {
        decode::read_int(&mut self.rest).ok()
    }
}
