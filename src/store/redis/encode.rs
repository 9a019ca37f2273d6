//! What the script is sent: the keys, and MessagePack as the head of `transact.lua` describes it.

use redis::{Cmd, RedisWrite as _};
use rmp::encode::{ByteBuf, write_bool, write_sint, write_str};

use crate::transaction::{
    Choice, Guard, Linear, NUMBER_LIMIT, Read, RecordKind, RecordRef, RecordUse, Transaction, Value, Write,
};

/// What a transaction's share of the argument comes to, more often than not.
const USUAL_LENGTH: usize = 1024;

/// The call of a script for these transactions; `now_ms` is the injected time, if there is one.
pub(super) fn call<'t>(
    script: &str,
    transactions: impl Iterator<Item = &'t Transaction> + Clone,
    now_ms: Option<i64>,
) -> Cmd {
    let keys = transactions.clone().map(|transaction| transaction.records.len()).sum::<usize>();
    let argument = encode(transactions.clone(), now_ms);
    let mut call = Cmd::with_capacity(4 + keys, argument.len() + 64 * (2 + keys));
    call.arg("EVALSHA").arg(script).arg(keys);
    let mut key = String::new();
    for transaction in transactions {
        key.clear();
        // The scope is the hash tag, so that one script can reach all of its records in a cluster.
        key.extend(["tollgate:{", transaction.scope.as_str(), "}:"]);
        let prefix = key.len();
        for used in &transaction.records {
            key.truncate(prefix);
            key.push_str(&used.key.name);
            call.write_arg(key.as_bytes());
        }
    }
    call.write_arg(&argument);
    call
}

fn encode<'t>(transactions: impl Iterator<Item = &'t Transaction> + Clone, now_ms: Option<i64>) -> Vec<u8> {
    let length = USUAL_LENGTH * transactions.clone().count();
    let mut encoder = Encoder { out: ByteBuf::with_capacity(length), items: 0 };
    let all = encoder.list();
    match now_ms {
        Some(now_ms) => encoder.number(now_ms),
        None => encoder.no(),
    }
    transactions.for_each(|transaction| encoder.transaction(transaction));
    let items = encoder.items;
    encoder.fill(all, items);
    encoder.out.into_vec()
}

struct Encoder {
    out: ByteBuf,
    /// How many values there are so far.
    items: usize,
}

/// Where a count stands that is known later.
#[derive(Clone, Copy)]
struct Hole(usize);

impl Encoder {
    fn transaction(&mut self, transaction: &Transaction) {
        self.measured(|encoder| {
            encoder.each(&transaction.records, Self::record);
            encoder.each(&transaction.require, Self::guard);
            encoder.each(&transaction.options, Self::choice);
        });
    }

    fn record(&mut self, used: &RecordUse) {
        self.number(match used.key.kind {
            RecordKind::Hash => 1,
            RecordKind::Packed => 2,
            RecordKind::Index => 3,
            RecordKind::Log => 4,
        });
        match &used.read {
            Read::Nothing | Read::Whole => {
                self.number(if used.read == Read::Whole { 1 } else { 0 });
                if used.key.kind == RecordKind::Hash {
                    // Most exist already, and what they would start with is passed over.
                    self.measured(|encoder| used.start.iter().for_each(|pair| encoder.pair(pair)));
                } else {
                    self.number(0);
                    self.no();
                }
            }
            Read::First { limit, unless_applied } => {
                self.number(2);
                self.number(i64::from(*limit));
                self.truth(*unless_applied);
            }
            Read::MembersAfter { member: after, limit } => self.read_after(3, *limit, after),
            Read::EntriesAfter { cursor: after, limit } => self.read_after(4, *limit, after),
        }
    }

    fn read_after(&mut self, code: i64, limit: u32, after: &str) {
        self.number(code);
        self.number(i64::from(limit));
        self.text(after);
    }

    fn choice(&mut self, choice: &Choice) {
        self.measured(|encoder| {
            encoder.each(&choice.guards, Self::guard);
            encoder.each(&choice.writes, Self::write);
        });
    }

    fn guard(&mut self, guard: &Guard) {
        match guard {
            Guard::Absent(record) => self.operation(1, *record),
            Guard::Present(record) => self.operation(2, *record),
            Guard::PackedEquals(record, value) => {
                self.operation(3, *record);
                self.text(value);
            }
            Guard::FieldEquals(record, field, value) => {
                self.operation(4, *record);
                self.text(field);
                self.text(value);
            }
            Guard::AtMostZero(linear) => self.at_most_zero(linear),
            Guard::NothingDue(record) => self.operation(6, *record),
            Guard::NothingAhead(record) => self.operation(7, *record),
        }
    }

    fn at_most_zero(&mut self, linear: &Linear) {
        // Most are bounds of time, for which there is a short form.
        let bound = match linear.now {
            1 if linear.terms.is_empty() => Some(8),
            -1 if linear.terms.is_empty() => Some(9),
            _ => None,
        };
        match bound {
            Some(code) => {
                self.number(code);
                self.number(linear.constant);
            }
            None => {
                self.number(5);
                self.linear(linear);
            }
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Add(record, field, number) => self.add(1, *record, field, *number),
            Write::AddIfPresent(record, field, number) => self.add(2, *record, field, *number),
            Write::Set(record, field, value) => {
                self.operation(3, *record);
                self.text(field);
                self.value(value);
            }
            Write::Put(record, parts, purge_at) => {
                self.operation(4, *record);
                self.parts(parts);
                match purge_at {
                    Some(purge_at) => self.value(purge_at),
                    None => self.no(),
                }
            }
            Write::Delete(record) => self.operation(5, *record),
            Write::IndexPut(record, member, score) => {
                self.operation(6, *record);
                self.text(member);
                self.value(score);
            }
            Write::IndexRemove(record, member) => {
                self.operation(7, *record);
                self.text(member);
            }
            Write::Append { log, fields, keep } => {
                self.operation(8, *log);
                match keep {
                    Some(keep) => self.number(i64::from(*keep)),
                    None => self.no(),
                }
                self.pairs(fields);
            }
        }
    }

    fn add(&mut self, code: i64, record: RecordRef, field: &str, number: i64) {
        self.operation(code, record);
        self.text(field);
        self.number(number);
    }

    /// The head of a guard or a write.
    fn operation(&mut self, code: i64, record: RecordRef) {
        self.number(code);
        self.place(record);
    }

    /// The parts of a packed value. What is known already is joined here, so that the script has fewer to join.
    fn parts(&mut self, parts: &[Value]) {
        let count = self.count_of_items();
        let mut written = 0;
        let mut known = String::new();
        for part in parts {
            match (part, constant(part)) {
                (Value::Text(text), _) => known.push_str(text),
                (_, Some(number)) if number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs() => {
                    known.push_str(&number.to_string());
                }
                _ => {
                    if !known.is_empty() {
                        self.text(&known);
                        known.clear();
                        written += 1;
                    }
                    self.value(part);
                    written += 1;
                }
            }
        }
        if !known.is_empty() {
            self.text(&known);
            written += 1;
        }
        self.fill(count, written);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Greatest(linears) => match constant(value) {
                Some(number) => self.number(number),
                None => {
                    self.truth(true);
                    match linears.as_slice() {
                        // Most are times, for which there is a short form.
                        [Linear { terms, now: 1, constant }] if terms.is_empty() => {
                            self.number(0);
                            self.number(*constant);
                        }
                        linears => self.each(linears, Self::linear),
                    }
                }
            },
        }
    }

    fn linear(&mut self, linear: &Linear) {
        self.count(linear.terms.len());
        self.number(linear.constant);
        self.number(linear.now);
        for (coefficient, record, field) in &linear.terms {
            self.number(*coefficient);
            self.place(*record);
            self.text(field);
        }
    }

    fn pairs(&mut self, fields: &[(&'static str, Value)]) {
        self.each(fields, Self::pair);
    }

    fn pair(&mut self, (field, value): &(&'static str, Value)) {
        self.text(field);
        self.value(value);
    }

    /// What is written, after how many values that is.
    fn measured(&mut self, write: impl FnOnce(&mut Self)) {
        let length = self.count_of_items();
        let begin = self.items;
        write(self);
        self.fill(length, self.items - begin);
    }

    fn each<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn place(&mut self, record: RecordRef) {
        self.count(record.0.saturating_add(1));
    }

    fn count(&mut self, count: usize) {
        self.number(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn no(&mut self) {
        self.truth(false);
    }

    /// The head of a list of whatever follows, up to the end.
    fn list(&mut self) -> Hole {
        self.hole(rmp::Marker::Array32)
    }

    /// A count that is filled in later.
    fn count_of_items(&mut self) -> Hole {
        self.items += 1;
        self.hole(rmp::Marker::U32)
    }

    fn hole(&mut self, marker: rmp::Marker) -> Hole {
        let out = self.out.as_mut_vec();
        out.push(marker.to_u8());
        let hole = Hole(out.len());
        out.extend([0; 4]);
        hole
    }

    fn fill(&mut self, Hole(at): Hole, count: usize) {
        // More do not fit into memory, and would be cut short into what the script rejects.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.out.as_mut_vec()[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }

    // Writing to a buffer in memory cannot fail, which its types say.

    fn number(&mut self, number: i64) {
        self.items += 1;
        let Ok(_) = write_sint(&mut self.out, number);
    }

    fn text(&mut self, text: &str) {
        self.items += 1;
        let Ok(()) = write_str(&mut self.out, text);
    }

    fn truth(&mut self, truth: bool) {
        self.items += 1;
        let Ok(()) = write_bool(&mut self.out, truth);
    }
}

/// The number that a value is, if it depends on nothing.
fn constant(value: &Value) -> Option<i64> {
    match value {
        Value::Greatest(linears) => match linears.as_slice() {
            [Linear { terms, now: 0, constant }] if terms.is_empty() => Some(*constant),
            _ => None,
        },
        Value::Text(_) => None,
    }
}
