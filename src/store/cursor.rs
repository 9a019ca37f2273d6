//! Cursors: the positions of entries in a log, as each kind of store writes them.

use super::error::StoreError;

/// The form of a store's cursors.
///
/// Validation checks a cursor against it. Otherwise Redis would reject a malformed cursor only when the log is read,
/// after the transaction's changes were made.
#[derive(Clone, Copy)]
pub(super) enum CursorFormat {
    /// The number of an entry, from 1: memory and embedded stores.
    Numbers,
    /// The id of an entry in a Redis stream: a time and a sequence number, joined by `-`.
    Streams,
}

impl CursorFormat {
    /// Returns whether the text is a cursor in this form.
    pub(super) fn matches(self, cursor: &str) -> bool {
        // Exactly as a store writes it: no sign, no leading zero.
        let is_number = |text: &str| text.parse().is_ok_and(|number: i64| number >= 0 && number.to_string() == text);
        match self {
            Self::Numbers => is_number(cursor),
            Self::Streams => cursor.split_once('-').is_some_and(|(time, number)| is_number(time) && is_number(number)),
        }
    }
}

/// Parses a cursor in the form [`CursorFormat::Numbers`]. The empty cursor is the position before the first entry.
pub(super) fn parse_entry_number(cursor: &str) -> Result<u64, StoreError> {
    if cursor.is_empty() {
        return Ok(0);
    }
    cursor.parse().map_err(|_| StoreError::fault("a cursor is not one of this store"))
}
