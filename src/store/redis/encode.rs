//! Encodes a call of the script: the keys, and the argument in MessagePack. The head of `transact.lua` specifies the
//! format.

use redis::{Cmd, RedisWrite as _};
use rmp::encode::{ByteBuf, write_bool, write_sint, write_str};

use super::opcodes;
use crate::transaction::{
    Choice, Guard, Linear, NUMBER_LIMIT, Read, RecordKind, RecordRef, RecordUse, Transaction, Value, Write,
};

/// Typical length of a transaction's part of the argument, in bytes. It is the initial capacity of the buffer.
const TYPICAL_BYTES: usize = 1024;

/// Returns the command that calls the script for these transactions. `now_ms` is the time of an injected clock; without
/// it, the script takes the server's time.
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
        // The scope is the hash tag. In a cluster, all records of a scope are thus on one server.
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
    let capacity = TYPICAL_BYTES * transactions.clone().count();
    let mut encoder = Encoder { out: ByteBuf::with_capacity(capacity), items: 0 };
    let head = encoder.list_head();
    match now_ms {
        Some(now_ms) => encoder.number(now_ms),
        None => encoder.bool(false),
    }
    transactions.for_each(|transaction| encoder.transaction(transaction));
    let items = encoder.items;
    encoder.fill(head, items);
    encoder.out.into_vec()
}

struct Encoder {
    out: ByteBuf,
    /// Number of list elements written so far.
    items: usize,
}

/// Position of a number that is filled in later.
#[derive(Clone, Copy)]
struct Placeholder(usize);

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
            RecordKind::Hash => opcodes::HASH,
            RecordKind::Packed => opcodes::PACKED,
            RecordKind::Index => opcodes::INDEX,
            RecordKind::Log => opcodes::LOG,
        });
        match &used.read {
            Read::Nothing | Read::Whole => {
                let is_whole = used.read == Read::Whole;
                self.number(if is_whole { opcodes::READ_WHOLE } else { opcodes::READ_NOTHING });
                if used.key.kind == RecordKind::Hash {
                    // With the length, the script skips these fields if the hash exists.
                    self.measured(|encoder| used.start.iter().for_each(|pair| encoder.pair(pair)));
                } else {
                    self.number(0);
                    self.bool(false);
                }
            }
            Read::First { limit, unless_applied } => {
                self.number(opcodes::READ_FIRST);
                self.number(i64::from(*limit));
                self.bool(*unless_applied);
            }
            Read::MembersAfter { member: after, limit } => self.read_after(opcodes::READ_MEMBERS_AFTER, *limit, after),
            Read::EntriesAfter { cursor: after, limit } => self.read_after(opcodes::READ_ENTRIES_AFTER, *limit, after),
        }
    }

    fn read_after(&mut self, opcode: i64, limit: u32, after: &str) {
        self.number(opcode);
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
            Guard::Absent(record) => self.operation(opcodes::GUARD_ABSENT, *record),
            Guard::Present(record) => self.operation(opcodes::GUARD_PRESENT, *record),
            Guard::PackedEquals(record, value) => {
                self.operation(opcodes::GUARD_PACKED_EQUALS, *record);
                self.text(value);
            }
            Guard::FieldEquals(record, field, value) => {
                self.operation(opcodes::GUARD_FIELD_EQUALS, *record);
                self.text(field);
                self.text(value);
            }
            Guard::AtMostZero(linear) => self.at_most_zero(linear),
            Guard::NothingDue(record) => self.operation(opcodes::GUARD_NOTHING_DUE, *record),
            Guard::NothingAhead(record) => self.operation(opcodes::GUARD_NOTHING_AHEAD, *record),
        }
    }

    fn at_most_zero(&mut self, linear: &Linear) {
        // Most expressions are bounds on the time, which have a short form.
        let short_form = match linear.now {
            1 if linear.terms.is_empty() => Some(opcodes::GUARD_NOW_PLUS),
            -1 if linear.terms.is_empty() => Some(opcodes::GUARD_MINUS_NOW),
            _ => None,
        };
        match short_form {
            Some(opcode) => {
                self.number(opcode);
                self.number(linear.constant);
            }
            None => {
                self.number(opcodes::GUARD_AT_MOST_ZERO);
                self.linear(linear);
            }
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Add(record, field, number) => self.add(opcodes::WRITE_ADD, *record, field, *number),
            Write::AddIfPresent(record, field, number) => {
                self.add(opcodes::WRITE_ADD_IF_PRESENT, *record, field, *number)
            }
            Write::Set(record, field, value) => {
                self.operation(opcodes::WRITE_SET, *record);
                self.text(field);
                self.value(value);
            }
            Write::Put(record, parts, purge_at) => {
                self.operation(opcodes::WRITE_PUT, *record);
                self.parts(parts);
                match purge_at {
                    Some(purge_at) => self.value(purge_at),
                    None => self.bool(false),
                }
            }
            Write::Delete(record) => self.operation(opcodes::WRITE_DELETE, *record),
            Write::IndexPut(record, member, score) => {
                self.operation(opcodes::WRITE_INDEX_PUT, *record);
                self.text(member);
                self.value(score);
            }
            Write::IndexRemove(record, member) => {
                self.operation(opcodes::WRITE_INDEX_REMOVE, *record);
                self.text(member);
            }
            Write::Append { log, fields, keep } => {
                self.operation(opcodes::WRITE_APPEND, *log);
                match keep {
                    Some(keep) => self.number(i64::from(*keep)),
                    None => self.bool(false),
                }
                self.pairs(fields);
            }
        }
    }

    fn add(&mut self, opcode: i64, record: RecordRef, field: &str, number: i64) {
        self.operation(opcode, record);
        self.text(field);
        self.number(number);
    }

    /// Writes the head of a guard or a write.
    fn operation(&mut self, opcode: i64, record: RecordRef) {
        self.number(opcode);
        self.record_number(record);
    }

    /// Writes the parts of a packed value. Joins neighbouring constants, so that the script has fewer parts to join.
    fn parts(&mut self, parts: &[Value]) {
        let count = self.placeholder();
        let mut written = 0;
        let mut constants = String::new();
        for part in parts {
            match (part, constant(part)) {
                (Value::Text(text), _) => constants.push_str(text),
                (_, Some(number)) if number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs() => {
                    constants.push_str(&number.to_string());
                }
                _ => {
                    if !constants.is_empty() {
                        self.text(&constants);
                        constants.clear();
                        written += 1;
                    }
                    self.value(part);
                    written += 1;
                }
            }
        }
        if !constants.is_empty() {
            self.text(&constants);
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
                    self.bool(true);
                    match linears.as_slice() {
                        // Most expressions are times, which have a short form.
                        [Linear { terms, now: 1, constant }] if terms.is_empty() => {
                            self.number(opcodes::VALUE_NOW_PLUS);
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
            self.record_number(*record);
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

    /// Writes the number of elements that `write` writes, and then those elements.
    fn measured(&mut self, write: impl FnOnce(&mut Self)) {
        let length = self.placeholder();
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

    /// Writes the number of a record in its transaction, from 1.
    fn record_number(&mut self, record: RecordRef) {
        self.count(record.0.saturating_add(1));
    }

    fn count(&mut self, count: usize) {
        self.number(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Writes the head of the list that contains everything. Its length is filled in later.
    fn list_head(&mut self) -> Placeholder {
        self.reserve(rmp::Marker::Array32)
    }

    /// Writes a number that is filled in later.
    fn placeholder(&mut self) -> Placeholder {
        self.items += 1;
        self.reserve(rmp::Marker::U32)
    }

    fn reserve(&mut self, marker: rmp::Marker) -> Placeholder {
        let out = self.out.as_mut_vec();
        out.push(marker.to_u8());
        let placeholder = Placeholder(out.len());
        out.extend([0; 4]);
        placeholder
    }

    fn fill(&mut self, Placeholder(at): Placeholder, count: usize) {
        // A larger number would need more memory than there is.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.out.as_mut_vec()[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }

    // The error type of a buffer in memory has no values, so the patterns below always match.

    fn number(&mut self, number: i64) {
        self.items += 1;
        let Ok(_) = write_sint(&mut self.out, number);
    }

    fn text(&mut self, text: &str) {
        self.items += 1;
        let Ok(()) = write_str(&mut self.out, text);
    }

    fn bool(&mut self, value: bool) {
        self.items += 1;
        let Ok(()) = write_bool(&mut self.out, value);
    }
}

/// Returns the number of a value that depends neither on a field nor on the time.
fn constant(value: &Value) -> Option<i64> {
    match value {
        Value::Greatest(linears) => match linears.as_slice() {
            [Linear { terms, now: 0, constant }] if terms.is_empty() => Some(*constant),
            _ => None,
        },
        Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Key, Scope};

    /// The example at the head of `transact.lua`, element by element.
    #[test]
    fn the_example_of_the_script_is_encoded_as_described() {
        let mut step = Transaction::on(Scope::new("acme"));
        let counter = step.starting_record(Key::hash("counter"), Read::Whole, vec![("n", 0.into())]);
        let at_most_9 = Guard::AtMostZero(Linear::constant(-9).plus(1, counter, "n"));
        step.option(vec![at_most_9], vec![Write::Add(counter, "n", 1)]);
        let argument = encode([step].iter(), None);
        let expected: [&[u8]; 8] = [
            &[0xdd, 0, 0, 0, 24],                        // a list of 24 elements
            &[0xc2],                                     // false: the server's time
            &[0xce, 0, 0, 0, 22],                        // length of the transaction
            &[1, 1, 1, 0xce, 0, 0, 0, 2, 0xa1, b'n', 0], // one record: HASH, READ_WHOLE, it starts with n = 0
            &[0],                                        // no preconditions
            &[1, 0xce, 0, 0, 0, 13],                     // one option, and its length
            &[1, 5, 1, 0xf7, 0, 1, 1, 0xa1, b'n'], // one guard: GUARD_AT_MOST_ZERO, 1 term, -9, 0, 1 * record 1's n
            &[1, 1, 1, 0xa1, b'n', 1],             // one write: WRITE_ADD, record 1, n, 1
        ];
        assert_eq!(argument, expected.concat());
    }
}
