//! What the script is sent: the keys, and MessagePack as the head of `transact.lua` describes it.

use rmp::encode::{ByteBuf, write_array_len, write_bool, write_sint, write_str};

use crate::transaction::{
    Choice, Guard, Key, Kind, Linear, Read, RecordRef, RecordUse, Scope, Transaction, Value, Write,
};

/// The key of a record. The scope is the hash tag, so that one script can reach all of its records in a cluster.
pub(super) fn key_text(scope: &Scope, key: &Key) -> String {
    format!("tollgate:{{{scope}}}:{}", key.name)
}

/// The script's argument; `now_ms` is the injected time, if there is one.
pub(super) fn encode(transactions: &[Transaction], now_ms: Option<i64>) -> Vec<u8> {
    let mut encoder = Encoder { out: ByteBuf::with_capacity(1024) };
    encoder.input(transactions, now_ms);
    encoder.out.into_vec()
}

struct Encoder {
    out: ByteBuf,
}

impl Encoder {
    fn input(&mut self, transactions: &[Transaction], now_ms: Option<i64>) {
        self.array(2);
        match now_ms {
            Some(now_ms) => self.number(now_ms),
            None => self.no(),
        }
        self.each(transactions, Self::transaction);
    }

    fn transaction(&mut self, transaction: &Transaction) {
        self.array(3);
        self.each(&transaction.records, Self::record);
        self.each(&transaction.require, Self::guard);
        self.each(&transaction.options, Self::choice);
    }

    fn record(&mut self, used: &RecordUse) {
        self.array(4);
        self.number(match used.key.kind {
            Kind::Hash => 1,
            Kind::Packed => 2,
            Kind::Index => 3,
            Kind::Log => 4,
        });
        match &used.read {
            Read::Nothing | Read::Whole => {
                self.number(if used.read == Read::Whole { 1 } else { 0 });
                if used.start.is_empty() {
                    self.no()
                } else {
                    self.pairs(&used.start)
                }
                self.no();
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
        self.array(2);
        self.each(&choice.guards, Self::guard);
        self.each(&choice.writes, Self::write);
    }

    fn guard(&mut self, guard: &Guard) {
        match guard {
            Guard::Absent(record) => self.operation(2, 1, *record),
            Guard::Present(record) => self.operation(2, 2, *record),
            Guard::PackedEquals(record, value) => {
                self.operation(3, 3, *record);
                self.text(value);
            }
            Guard::FieldEquals(record, field, value) => {
                self.operation(4, 4, *record);
                self.text(field);
                self.text(value);
            }
            Guard::AtMostZero(linear) => {
                self.array(2);
                self.number(5);
                self.linear(linear);
            }
            Guard::NothingDue(record) => self.operation(2, 6, *record),
            Guard::NothingAhead(record) => self.operation(2, 7, *record),
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Add(record, field, number) => self.add(1, *record, field, *number),
            Write::AddIfPresent(record, field, number) => self.add(2, *record, field, *number),
            Write::Set(record, field, value) => {
                self.operation(4, 3, *record);
                self.text(field);
                self.value(value);
            }
            Write::Put(record, parts, purge_at) => {
                self.operation(4, 4, *record);
                self.each(parts, Self::value);
                match purge_at {
                    Some(purge_at) => self.value(purge_at),
                    None => self.no(),
                }
            }
            Write::Delete(record) => self.operation(2, 5, *record),
            Write::IndexPut(record, member, score) => {
                self.operation(4, 6, *record);
                self.text(member);
                self.value(score);
            }
            Write::IndexRemove(record, member) => {
                self.operation(3, 7, *record);
                self.text(member);
            }
            Write::Append { log, fields, keep } => {
                self.operation(4, 8, *log);
                match keep {
                    Some(keep) => self.number(i64::from(*keep)),
                    None => self.no(),
                }
                self.pairs(fields);
            }
        }
    }

    fn add(&mut self, code: i64, record: RecordRef, field: &str, number: i64) {
        self.operation(4, code, record);
        self.text(field);
        self.number(number);
    }

    /// The head of a guard or a write: so many elements, of which these are the first two.
    fn operation(&mut self, length: usize, code: i64, record: RecordRef) {
        self.array(length);
        self.number(code);
        self.place(record);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Greatest(linears) => match linears.as_slice() {
                [Linear { terms, now: 0, constant }] if terms.is_empty() => self.number(*constant),
                linears => self.each(linears, Self::linear),
            },
        }
    }

    fn linear(&mut self, linear: &Linear) {
        self.array(2 + 3 * linear.terms.len());
        self.number(linear.constant);
        self.number(linear.now);
        for (coefficient, record, field) in &linear.terms {
            self.number(*coefficient);
            self.place(*record);
            self.text(field);
        }
    }

    fn pairs(&mut self, fields: &[(&'static str, Value)]) {
        self.array(2 * fields.len());
        for (field, value) in fields {
            self.text(field);
            self.value(value);
        }
    }

    fn each<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.array(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn array(&mut self, length: usize) {
        // A longer one does not fit into memory, and would be cut short into one that the script rejects.
        let Ok(_) = write_array_len(&mut self.out, u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn place(&mut self, record: RecordRef) {
        self.number(i64::try_from(record.0).unwrap_or(i64::MAX).saturating_add(1));
    }

    fn number(&mut self, number: i64) {
        let Ok(_) = write_sint(&mut self.out, number);
    }

    fn text(&mut self, text: &str) {
        let Ok(()) = write_str(&mut self.out, text);
    }

    fn no(&mut self) {
        self.truth(false);
    }

    // Writing to a buffer in memory cannot fail, which its types say.

    fn truth(&mut self, truth: bool) {
        let Ok(()) = write_bool(&mut self.out, truth);
    }
}
