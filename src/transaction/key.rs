//! Names of records. A scope is what one transaction can touch; a store may place two scopes on different machines.

use std::{fmt, sync::Arc};

/// A collection of records that can change together: a team's, or a global one's.
///
/// A team's scope is the team's id. A global scope begins with `!`, which no id can contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// The scope of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is no team's.
    pub fn is_global(&self) -> bool {
        self.0.starts_with('!')
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What kind of record a key names. A key has one kind for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Named fields: decimal integers or text. Small, and always read whole.
    Hash,
    /// One text, replaced whole.
    Packed,
    /// Members with integer scores, ordered by score, then by the members' bytes.
    Index,
    /// Entries in the order they were appended.
    Log,
}

/// Names a record within its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What kind of record it is.
    pub kind: RecordKind,
    /// Its name, unique within the scope.
    pub name: String,
}

impl Key {
    /// A key of a hash.
    pub fn hash(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Hash, name: name.into() }
    }

    /// A key of a packed record.
    pub fn packed(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Packed, name: name.into() }
    }

    /// A key of an index.
    pub fn index(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Index, name: name.into() }
    }

    /// A key of a log.
    pub fn log(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Log, name: name.into() }
    }
}

/// Names one of the records of a [`super::Transaction`]; made by [`super::Transaction::record`] and meaningless elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef(pub(crate) usize);
