//! Tables of requests: a valid request for each rpc, and the values that each of its fields is given in turn.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use tonic::Code;

/// Invalid ids: with a character outside the alphabet. The empty id is not among them, because some fields may be empty.
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

/// The expected response to a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// INVALID_ARGUMENT with this reason, and a violation that names the row's field.
    Refused(&'static str),
    /// An error with this code and reason, although the request is valid.
    Fails(Code, &'static str),
    /// Any successful response.
    Answered,
}

/// One request that differs from a valid one in one field.
pub(super) struct Row {
    pub(super) path: &'static str,
    /// Name of the field, as a violation has it.
    pub(super) field: &'static str,
    /// The value of the field, for the failure message.
    pub(super) value: String,
    pub(super) request: Bytes,
    pub(super) expected: Expected,
}

/// The rows of some rpcs.
#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// A valid request for each rpc.
    pub(super) honest: Vec<(&'static str, Bytes)>,
    /// Fields that may have any value, with the reason.
    pub(super) free: Vec<(&'static str, &'static str, &'static str)>,
}

/// Builder of the rows of one rpc.
pub(super) struct Rpc<'a, M> {
    table: &'a mut Table,
    path: &'static str,
    honest: M,
}

impl Table {
    /// Begins the rows of an rpc, each of which changes one field of this valid request.
    pub(super) fn rpc<M: Message + Clone>(&mut self, path: &'static str, honest: M) -> Rpc<'_, M> {
        self.honest.push((path, honest.encode_to_vec().into()));
        Rpc { table: self, path, honest }
    }

    /// Begins more rows of an rpc, from another request.
    pub(super) fn also<M: Message + Clone>(&mut self, path: &'static str, honest: M) -> Rpc<'_, M> {
        Rpc { table: self, path, honest }
    }
}

impl<M: Message + Clone> Rpc<'_, M> {
    /// Adds values that are refused with a violation of the field.
    pub(super) fn refuses<V: Debug + Clone>(
        self,
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Refused("INVALID_FIELD"), values, put)
    }

    /// Adds models that are on no rate card.
    pub(super) fn refuses_models(self, field: &'static str, models: &[&str], put: impl Fn(&mut M, String)) -> Self {
        self.rows(field, Expected::Refused("UNKNOWN_MODEL"), models.iter().map(ToString::to_string), put)
    }

    /// Adds valid values that are answered with this error.
    pub(super) fn fails_with<V: Debug + Clone>(
        self,
        (code, reason): (Code, &'static str),
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Fails(code, reason), values, put)
    }

    /// Adds values that are accepted.
    pub(super) fn accepts<V: Debug + Clone>(
        self,
        field: &'static str,
        values: impl IntoIterator<Item = V>,
        put: impl Fn(&mut M, V),
    ) -> Self {
        self.rows(field, Expected::Answered, values, put)
    }

    /// Adds the invalid values of a field that must hold an id.
    pub(super) fn id(self, field: &'static str, put: impl Fn(&mut M, String)) -> Self {
        self.refuses(field, [String::new()], &put).optional_id(field, put)
    }

    /// Adds the invalid values of a field that may be empty or hold an id.
    pub(super) fn optional_id(self, field: &'static str, put: impl Fn(&mut M, String)) -> Self {
        self.refuses(field, no_ids(), put)
    }

    /// Declares a field that may have any value.
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

/// Returns invalid ids, except for the empty one.
pub(super) fn no_ids() -> impl Iterator<Item = String> {
    let too_long = ["x".repeat(129), "x".repeat(10_000), "é".repeat(64)];
    NO_IDS.iter().map(ToString::to_string).chain(too_long)
}

/// Returns unusual valid ids.
pub(super) fn ids() -> impl Iterator<Item = String> {
    ["x".repeat(128), "-".to_owned(), "..".to_owned(), "Zz09._:-".to_owned()].into_iter()
}

/// Returns timestamps outside the contract's range.
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

/// The first and the last timestamp of the contract's range.
pub(super) const FIRST_MOMENT: prost_types::Timestamp = prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 };
pub(super) const LAST_MOMENT: prost_types::Timestamp =
    prost_types::Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 };

/// Page sizes. All are accepted: 0 means the default, and larger ones mean the maximum.
pub(super) const PAGE_SIZES: [u32; 5] = [0, 1, 1_000, 1_001, u32::MAX];
