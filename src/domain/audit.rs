//! Entries of the audit logs: who changed what, and when. Whatever makes a change writes its entry in the same transaction.

use super::{Damaged, id::Id};
use crate::transaction::{FieldMap, RecordRef, Value, Write};

/// How many entries of a log stay.
const MAX_ENTRIES: u32 = 10_000;

/// One accepted change, as its log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Who made it.
    pub caller: String,
    /// What was changed.
    pub change: String,
    /// What there was; empty if there was nothing.
    pub before: String,
    /// What there is since.
    pub after: String,
}

/// One accepted change, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedChange {
    /// The team; `None` for the catalogue.
    pub team: Option<Id>,
    /// The change.
    pub entry: AuditEntry,
}

impl AuditEntry {
    /// Reads an entry of a log.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let text = |field| fields.text(field).map(str::to_owned).ok_or_else(|| Damaged::new("audit", field));
        Ok(Self {
            at_ms: fields.number("at").ok_or_else(|| Damaged::new("audit", "at"))?,
            caller: text("caller")?,
            change: text("change")?,
            before: text("before")?,
            after: text("after")?,
        })
    }
}

/// The write that appends an entry to a log, at the store's time.
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
