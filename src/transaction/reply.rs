//! What a store answers: its time, what became of the step, and the records as they are now.

use super::{key::RecordRef, number::parse_stored_number};

/// The answer to one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The store's time when it decided, in Unix milliseconds.
    pub now_ms: i64,
    /// What became of the step.
    pub outcome: Outcome,
    /// What was asked of each record, in the order they were declared: the truth after the step, whatever its outcome.
    pub records: Vec<Record>,
}

impl Reply {
    /// What was asked of a record; a record that the transaction did not declare reads as not read.
    pub fn record(&self, record: RecordRef) -> &Record {
        self.records.get(record.0).unwrap_or(&Record::NotRead)
    }

    /// The fields of a hash, if it exists.
    pub fn hash(&self, record: RecordRef) -> Option<&FieldMap> {
        match self.record(record) {
            Record::Hash(fields) => Some(fields),
            _ => None,
        }
    }

    /// The value of a packed record, if it exists.
    pub fn packed(&self, record: RecordRef) -> Option<&str> {
        match self.record(record) {
            Record::Packed(value) => Some(value),
            _ => None,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That option was applied.
    Applied {
        /// Its place in [`super::Transaction::options`].
        option: usize,
    },
    /// Something that was believed is not so; nothing was applied.
    Stale {
        /// The place in [`super::Transaction::require`] of the first that failed; `None` if a field or a record that a
        /// guard or a write counts on is missing.
        guard: Option<usize>,
    },
    /// All that was believed is so, and no option's guards hold; nothing was applied.
    Refused,
}

/// A record as a reply carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Not asked for, or left out as the step was applied.
    NotRead,
    /// A hash or a packed record that does not exist.
    Absent,
    /// A hash.
    Hash(FieldMap),
    /// A packed record's value.
    Packed(String),
    /// Entries of an index: score and member.
    Index(Vec<(i64, String)>),
    /// Entries of a log.
    Log(Vec<LogEntry>),
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands; opaque, in the store's own form.
    pub cursor: String,
    /// What was appended.
    pub fields: FieldMap,
}

/// The fields of a small record, in no particular order. They lie in one piece: a reply has dozens of them, and most are never
/// looked at.
#[derive(Default)]
pub struct FieldMap {
    /// Names and values, one after the other.
    texts: String,
    /// Where each name and each value ends.
    ends: Vec<[u32; 2]>,
}

impl FieldMap {
    /// No fields yet, with room for so many whose names and values take so many bytes.
    pub(crate) fn with_room(fields: usize, bytes: usize) -> Self {
        Self { texts: String::with_capacity(bytes), ends: Vec::with_capacity(fields) }
    }

    /// Adds a field that is not there yet.
    pub(crate) fn push(&mut self, field: &str, value: &str) {
        self.push_by(|texts| texts.push_str(field), |texts| texts.push_str(value));
    }

    /// Adds a field that is not there yet; its name and its value are appended to what is given.
    pub(crate) fn push_by(&mut self, field: impl FnOnce(&mut String), value: impl FnOnce(&mut String)) {
        field(&mut self.texts);
        let name_end = place(self.texts.len());
        value(&mut self.texts);
        self.ends.push([name_end, place(self.texts.len())]);
    }

    /// Sets a field.
    pub(crate) fn set(&mut self, field: &str, value: &str) {
        let Some((at, old)) =
            self.iter().enumerate().find(|(_, (name, _))| *name == field).map(|(at, (_, old))| (at, old))
        else {
            return self.push(field, value);
        };
        let (old_length, [begin, end]) = (place(old.len()), self.ends[at]);
        self.texts.replace_range(begin as usize..end as usize, value);
        let moved = |end: u32| end - old_length + place(value.len());
        if let Some([_, end]) = self.ends.get_mut(at) {
            *end = moved(*end);
        }
        for ends in &mut self.ends[at + 1..] {
            *ends = ends.map(moved);
        }
    }

    /// Each field's name and text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|[_, end]| *end));
        begins.zip(&self.ends).map(|(begin, [name_end, end])| {
            (&self.texts[begin as usize..*name_end as usize], &self.texts[*name_end as usize..*end as usize])
        })
    }

    /// The field's text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// The field's number; `None` if it is missing, or no number that a store keeps.
    pub fn number(&self, field: &str) -> Option<i64> {
        parse_stored_number(self.text(field)?)
    }
}

/// A record has no more bytes than a number of 32 bits counts: no store takes a text as long as that.
fn place(length: usize) -> u32 {
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
    fn a_field_that_is_set_again_leaves_the_others_as_they_are() {
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
