//! Entries of the audit logs: who changed what, and when. Each change writes its entry in its own transaction.

use super::{Damaged, id::Id};
use crate::transaction::{FieldMap, RecordRef, Value, Write};

/// Maximum number of entries that a log keeps.
const MAX_ENTRIES: u32 = 10_000;

/// One accepted change, as in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was accepted, in Unix milliseconds.
    pub at_ms: i64,
    /// Who made it.
    pub caller: String,
    /// What was changed.
    pub change: String,
    /// The value before the change. Empty if there was none.
    pub before: String,
    /// The value after the change.
    pub after: String,
}

/// One accepted change and the team that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedChange {
    /// ID of the team. `None` for a change of the catalogue.
    pub team: Option<Id>,
    /// The change.
    pub entry: AuditEntry,
}

impl AuditEntry {
    /// Reads an entry of a log.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let text = |field| fields.text(field).map(str::to_owned).ok_or_else(|| Damaged::field("audit", field));
        Ok(Self {
            at_ms: fields.number("at").ok_or_else(|| Damaged::field("audit", "at"))?,
            caller: text("caller")?,
            change: text("change")?,
            before: text("before")?,
            after: text("after")?,
        })
    }
}

/// Returns the write that appends an entry to a log, at the store's time.
pub(crate) fn append(log: RecordRef, caller: &str, change: &'static str, before: String, after: String) -> Write {
    Write::Append {
        log,
        fields: vec![
            ("at", Value::now()),
            ("caller", caller.into()),
            ("change", change.into()),
            ("before", before.into()),
            ("after", after.into()),
        ],
        keep: Some(MAX_ENTRIES),
    }
}
