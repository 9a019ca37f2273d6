//! What a table of requests is made of: one valid request for each rpc, and the values that its fields are given in turn.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use tonic::Code;

/// What no id is: a sign outside of the alphabet, wherever it stands, or too many of them. An empty one stands elsewhere, as some
/// fields may be empty.
const NO_IDS: [&str; 24] = [
    " ",
    "a b",
    "a ",
    "{a}",
    "a{b",
    "}",
    "a\r\nb",
    "a\n",
    "\r",
    "a\tb",
    "\0",
    "a\0",
    "é",
    "a\u{301}",
    "チーム",
    "\u{202e}a",
    "💥",
    "a/b",
    "a|b",
    "a,b",
    "a*",
    "a\\b",
    "%2e",
    "!teams",
];

/// What is expected of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// INVALID_ARGUMENT with this reason, and a violation that names the row's field.
    Refused(&'static str),
    /// Nothing is wrong with the request, and this is how things are.
    Told(Code, &'static str),
    /// An answer.
    Answered,
}

/// One request that differs from a valid one in one field.
pub(super) struct Row {
    pub(super) path: &'static str,
    /// As a violation names it.
    pub(super) field: &'static str,
    /// For whoever reads of a failure.
    pub(super) value: String,
    pub(super) request: Bytes,
    pub(super) expected: Expected,
}

/// All rows of some rpcs.
#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// For each rpc a valid request.
    pub(super) honest: Vec<(&'static str, Bytes)>,
    /// Fields that may have any value, and why.
    pub(super) free: Vec<(&'static str, &'static str, &'static str)>,
}

/// The rows of one rpc, as they are written.
pub(super) struct Rpc<'a, M> {
    table: &'a mut Table,
    path: &'static str,
    honest: M,
}

impl Table {
    /// Rows of an rpc, each of which changes this valid request.
    pub(super) fn rpc<M: Message + Clone>(&mut self, path: &'static str, honest: M) -> Rpc<'_, M> {
        self.honest.push((path, honest.encode_to_vec().into()));
        Rpc { table: self, path, honest }
    }

    /// More rows of an rpc, by another request, whose answer is not looked at by itself.
    pub(super) fn also<M: Message + Clone>(&mut self, path: &'static str, honest: M) -> Rpc<'_, M> {
        Rpc { table: self, path, honest }
    }
}

impl<M: Message + Clone> Rpc<'_, M> {
    /// Refused with each of these values, naming the field.
    pub(super) fn refuses<V: Debug + Clone>(
        self,
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Refused("INVALID_FIELD"), values, put)
    }

    /// Refused with each of these models, which are on no card.
    pub(super) fn knows_no(self, field: &'static str, models: &[&str], put: impl Fn(&mut M, String)) -> Self {
        self.rows(field, Expected::Refused("UNKNOWN_MODEL"), models.iter().map(ToString::to_string), put)
    }

    /// Nothing is wrong with these values: this is how things are.
    pub(super) fn tells<V: Debug + Clone>(
        self,
        (code, reason): (Code, &'static str),
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Told(code, reason), values, put)
    }

    /// Answered with each of these values.
    pub(super) fn takes<V: Debug + Clone>(
        self,
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Answered, values, put)
    }

    /// A field that has to hold an id.
    pub(super) fn id(self, field: &'static str, put: impl Fn(&mut M, String)) -> Self {
        self.refuses(field, [String::new()], &put).optional_id(field, put)
    }

    /// A field that holds an id or nothing.
    pub(super) fn optional_id(self, field: &'static str, put: impl Fn(&mut M, String)) -> Self {
        self.refuses(field, no_ids(), put)
    }

    /// A field that may have any value.
    pub(super) fn free(self, field: &'static str, why: &'static str) -> Self {
        self.table.free.push((self.path, field, why));
        self
    }

    fn rows<V: Debug + Clone>(
        self,
        field: &'static str,
        expected: Expected,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        for value in values {
            let mut request = self.honest.clone();
            let shown: String = format!("{value:?}").chars().take(80).collect();
            put(&mut request, value);
            let request = request.encode_to_vec().into();
            self.table.rows.push(Row { path: self.path, field, value: shown, request, expected });
        }
        self
    }
}

/// What no id is, but for nothing at all.
pub(super) fn no_ids() -> impl Iterator<Item = String> {
    let too_long = ["x".repeat(129), "x".repeat(10_000), "é".repeat(64)];
    NO_IDS.iter().map(ToString::to_string).chain(too_long)
}

/// Ids at the ends of what one may be.
pub(super) fn ids() -> impl Iterator<Item = String> {
    ["x".repeat(128), "-".to_owned(), "..".to_owned(), "Zz09._:-".to_owned()].into_iter()
}

/// Moments that the contract's Timestamp cannot tell.
pub(super) fn no_moments() -> impl Iterator<Item = prost_types::Timestamp> {
    let moments = [
        (0, -1),
        (0, 1_000_000_000),
        (0, i32::MIN),
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (i64::MAX, 0),
        (i64::MIN, -1),
    ];
    moments.into_iter().map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos })
}

/// The first and the last moment that it can tell.
pub(super) const FIRST_MOMENT: prost_types::Timestamp = prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 };
pub(super) const LAST_MOMENT: prost_types::Timestamp =
    prost_types::Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 };

/// Every size of a page is taken: there is a default, and a most.
pub(super) const PAGE_SIZES: [u32; 5] = [0, 1, 1_000, 1_001, u32::MAX];
