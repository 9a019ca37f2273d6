//! The reply of a store: its time, the outcome, and the records as they are then.

use super::{key::RecordRef, number::parse_stored_number};

/// The reply to one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The store's time when it decided, in Unix milliseconds.
    pub now_ms: i64,
    /// The outcome of the transaction.
    pub outcome: Outcome,
    /// What was read of each record, in the order of declaration. The records are as they are after the transaction,
    /// for every outcome.
    pub records: Vec<Record>,
}

impl Reply {
    /// Returns what was read of a record.
    pub fn record(&self, record: RecordRef) -> &Record {
        self.records.get(record.0).unwrap_or(&Record::NotRead)
    }

    /// Returns the fields of a hash, if it exists.
    pub fn hash(&self, record: RecordRef) -> Option<&FieldMap> {
        match self.record(record) {
            Record::Hash(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the value of a packed record, if it exists.
    pub fn packed(&self, record: RecordRef) -> Option<&str> {
        match self.record(record) {
            Record::Packed(value) => Some(value),
            _ => None,
        }
    }
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An option was applied.
    Applied {
        /// Position of the option in [`super::Transaction::options`].
        option: usize,
    },
    /// A precondition does not hold, or a field is missing. Nothing was written.
    Stale {
        /// Position in [`super::Transaction::require`] of the first precondition that does not hold. `None` if an
        /// option needs a record or a field that does not exist.
        guard: Option<usize>,
    },
    /// All preconditions hold, but no option's guards do. Nothing was written.
    Refused,
}

/// A record in a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It was not requested, or was left out because an option was applied.
    NotRead,
    /// The hash or the packed record does not exist.
    Absent,
    /// A hash.
    Hash(FieldMap),
    /// The value of a packed record.
    Packed(String),
    /// Entries of an index: scores and members.
    Index(Vec<(i64, String)>),
    /// Entries of a log.
    Log(Vec<LogEntry>),
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position of the entry in the log. The form depends on the store.
    pub cursor: String,
    /// The fields of the entry.
    pub fields: FieldMap,
}

/// The fields of a small record: names and texts, in no particular order.
///
/// All of them are in one buffer, because a reply has dozens of fields and most are never used.
#[derive(Default)]
pub struct FieldMap {
    /// All names and values, concatenated.
    texts: String,
    /// The end of each name and of its value in `texts`.
    ends: Vec<[u32; 2]>,
}

impl FieldMap {
    /// Returns an empty map with capacity for `fields` fields whose names and values have `bytes` bytes in total.
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { texts: String::with_capacity(bytes), ends: Vec::with_capacity(fields) }
    }

    /// Adds a field, which must not exist yet.
    pub(crate) fn push(&mut self, field: &str, value: &str) {
        self.push_by(|texts| texts.push_str(field), |texts| texts.push_str(value));
    }

    /// Adds a field, which must not exist yet. The functions append its name and its value to the buffer.
    pub(crate) fn push_by(&mut self, field: impl FnOnce(&mut String), value: impl FnOnce(&mut String)) {
        field(&mut self.texts);
        let name_end = offset(self.texts.len());
        value(&mut self.texts);
        self.ends.push([name_end, offset(self.texts.len())]);
    }

    /// Sets a field, which may exist.
    pub(crate) fn set(&mut self, field: &str, value: &str) {
        let Some((at, old)) =
            self.iter().enumerate().find(|(_, (name, _))| *name == field).map(|(at, (_, old))| (at, old))
        else {
            return self.push(field, value);
        };
        let (old_length, [begin, end]) = (offset(old.len()), self.ends[at]);
        self.texts.replace_range(begin as usize..end as usize, value);
        let moved = |end: u32| end - old_length + offset(value.len());
        if let Some([_, end]) = self.ends.get_mut(at) {
            *end = moved(*end);
        }
        for ends in &mut self.ends[at + 1..] {
            *ends = ends.map(moved);
        }
    }

    /// Returns each field's name and text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|[_, end]| *end));
        begins.zip(&self.ends).map(|(begin, [name_end, end])| {
            (&self.texts[begin as usize..*name_end as usize], &self.texts[*name_end as usize..*end as usize])
        })
    }

    /// Returns the text of a field.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// Returns the number in a field. `None` if the field does not exist, or is not a number that a store keeps.
    pub fn number(&self, field: &str) -> Option<i64> {
        parse_stored_number(self.text(field)?)
    }
}

/// Converts an offset. No record is as long as 4 GiB, because no store accepts such a text.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl<Name: AsRef<str>, Text: AsRef<str>> FromIterator<(Name, Text)> for FieldMap {
    fn from_iter<I: IntoIterator<Item = (Name, Text)>>(fields: I) -> Self {
        let mut all = Self::default();
        for (field, value) in fields {
            all.push(field.as_ref(), value.as_ref());
        }
        all
    }
}

impl Clone for FieldMap {
    fn clone(&self) -> Self {
        Self { texts: self.texts.clone(), ends: self.ends.clone() }
    }

    fn clone_from(&mut self, other: &Self) {
        self.texts.clone_from(&other.texts);
        self.ends.clone_from(&other.ends);
    }
}

impl PartialEq for FieldMap {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.texts == other.texts
    }
}

impl Eq for FieldMap {}

impl std::fmt::Debug for FieldMap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_field_again_leaves_the_others_unchanged() {
        let mut fields: FieldMap = [("a", "1"), ("bb", ""), ("c", "3")].into_iter().collect();
        for (field, value) in [("bb", "long"), ("a", ""), ("c", "33"), ("bb", "x"), ("new", "é"), ("a", "11")] {
            fields.set(field, value);
            assert_eq!(fields.text(field), Some(value));
        }
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("a", "11"), ("bb", "x"), ("c", "33"), ("new", "é")]);
        assert_eq!((fields.text("b"), fields.text("aa")), (None, None));
    }
}
