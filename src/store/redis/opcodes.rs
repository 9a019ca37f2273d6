//! The numbers by which the sidecar and `transact.lua` name things to each other, each defined once.
//!
//! `encode.rs` and `decode.rs` use the constants. The script contains their names, and [`resolve`] replaces these by
//! the numbers when the script is loaded. As local variables of the script, the numbers would cost each call some 2 to
//! 4 µs.

/// Declares the constants, and a table of their names and numbers.
macro_rules! opcodes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)+) => {
        $($(#[doc = $doc])+ pub(super) const $name: i64 = $number;)+

        const NUMBERS: &[(&str, i64)] = &[$((stringify!($name), $name)),+];
    };
}

opcodes! {
    /// Kind of a record: named fields.
    HASH = 1;
    /// Kind of a record: one text.
    PACKED = 2;
    /// Kind of a record: members with scores.
    INDEX = 3;
    /// Kind of a record: appended entries.
    LOG = 4;

    /// What to read of a record: nothing.
    READ_NOTHING = 0;
    /// What to read of a record: all of it.
    READ_WHOLE = 1;
    /// What to read of an index: the entries with the lowest scores.
    READ_FIRST = 2;
    /// What to read of an index: the members after one.
    READ_MEMBERS_AFTER = 3;
    /// What to read of a log: the entries after one.
    READ_ENTRIES_AFTER = 4;

    /// Guard: the record does not exist.
    GUARD_ABSENT = 1;
    /// Guard: the record exists.
    GUARD_PRESENT = 2;
    /// Guard: the packed record has this value.
    GUARD_PACKED_EQUALS = 3;
    /// Guard: the field has this value.
    GUARD_FIELD_EQUALS = 4;
    /// Guard: the expression is not above 0.
    GUARD_AT_MOST_ZERO = 5;
    /// Guard: the index has no score at or below the store's time.
    GUARD_NOTHING_DUE = 6;
    /// Guard: the index has no score above the store's time.
    GUARD_NOTHING_AHEAD = 7;
    /// Guard: now + n is not above 0. The short form of the most frequent expression.
    GUARD_NOW_PLUS = 8;
    /// Guard: n - now is not above 0. The short form of the second most frequent expression.
    GUARD_MINUS_NOW = 9;

    /// Write: add to a field.
    WRITE_ADD = 1;
    /// Write: add to a field, if the hash exists.
    WRITE_ADD_IF_PRESENT = 2;
    /// Write: set a field.
    WRITE_SET = 3;
    /// Write: replace a packed record.
    WRITE_PUT = 4;
    /// Write: remove a record.
    WRITE_DELETE = 5;
    /// Write: put a member into an index.
    WRITE_INDEX_PUT = 6;
    /// Write: remove a member from an index.
    WRITE_INDEX_REMOVE = 7;
    /// Write: append an entry to a log.
    WRITE_APPEND = 8;

    /// Outcome: an option was applied.
    APPLIED = 0;
    /// Outcome: a precondition does not hold.
    STALE = 1;
    /// Outcome: no option's guards hold.
    REFUSED = 2;
    /// Outcome: the transaction is at fault, or the server refused a command.
    FAULT = 3;

    /// Instead of a number of linear expressions: the value is now + n.
    VALUE_NOW_PLUS = 0;
    /// Instead of the number of a guard: a field or a record is missing that the transaction counts on.
    NO_GUARD = -1;
}

/// Returns the script with the number of each opcode in place of its name.
pub(super) fn resolve(script: &str) -> String {
    let is_part_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut resolved = String::with_capacity(script.len());
    for piece in script.split_inclusive(|character| !is_part_of_name(character)) {
        let word = piece.trim_end_matches(|character| !is_part_of_name(character));
        match NUMBERS.iter().find(|(name, _)| *name == word) {
            Some((_, number)) => resolved.push_str(&number.to_string()),
            None => resolved.push_str(word),
        }
        resolved.push_str(&piece[word.len()..]);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every opcode occurs in the code of the script or is the last alternative, which a comment names; and no name is
    /// unknown.
    #[test]
    fn the_script_and_the_table_name_the_same_opcodes() {
        let script = include_str!("transact.lua");
        let (_, code) = script.split_once("\nlocal call").unwrap();
        for (name, _) in NUMBERS {
            assert!(code.contains(name), "{name} is not in the script");
        }
        let resolved = resolve(script);
        for prefix in ["READ_", "GUARD_", "WRITE_", "VALUE_"] {
            let unknown = resolved
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .find(|word| word.starts_with(prefix));
            assert_eq!(unknown, None);
        }
        assert_eq!(resolve("if opcode == GUARD_ABSENT then GUARD_ABSENTEE()"), "if opcode == 1 then GUARD_ABSENTEE()");
    }
}
