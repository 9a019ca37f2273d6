//! Names of records. A transaction uses the records of one scope. A store may place two scopes on different machines.

use std::{fmt, sync::Arc};

/// A set of records that a transaction can change together: those of a team, or a global set.
///
/// The name of a team's scope is the team's id. The name of a global scope begins with `!`, which no id can contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Returns the scope with this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the scope is global.
    pub fn is_global(&self) -> bool {
        self.0.starts_with('!')
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The kind of a record. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Named fields: decimal integers or texts. A hash is small and is always read as a whole.
    Hash,
    /// One text, which is replaced as a whole.
    Packed,
    /// Members with integer scores, ordered by score and then by the members' bytes.
    Index,
    /// Entries in the order in which they were appended.
    Log,
}

/// The name of a record within its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind of the record.
    pub kind: RecordKind,
    /// The name, unique within the scope.
    pub name: String,
}

impl Key {
    /// Returns the key of a hash.
    pub fn hash(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Hash, name: name.into() }
    }

    /// Returns the key of a packed record.
    pub fn packed(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Packed, name: name.into() }
    }

    /// Returns the key of an index.
    pub fn index(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Index, name: name.into() }
    }

    /// Returns the key of a log.
    pub fn log(name: impl Into<String>) -> Self {
        Self { kind: RecordKind::Log, name: name.into() }
    }
}

/// A reference to a record of a [`super::Transaction`], returned by [`super::Transaction::record`]. It is valid for
/// that transaction only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef(pub(crate) usize);
