//! Usage rows: what was committed in a cycle, by day, flow, model and trigger.

use super::{
    Damaged,
    billing_cycle::{day_name, is_day_name},
    id::Id,
    keys,
    reservation::Trigger,
};
use crate::transaction::{FieldMap, Read, Transaction, Write};

/// Separator of the parts of a row's name. It sorts before every character of an ID, so names sort by their parts.
const SEPARATOR: char = ',';

/// The key of a usage row: commits with the same key are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// UTC day of the reservation, as YYYY-MM-DD.
    pub day: String,
    /// The flow.
    pub flow: Id,
    /// The model that was charged.
    pub model: Id,
    /// Why the model was called.
    pub trigger: Trigger,
}

/// The counters of a usage row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCounts {
    /// Number of commits.
    pub calls: i64,
    /// Number of calls or images.
    pub units: i64,
    /// Credits charged.
    pub credits: i64,
}

impl UsageKey {
    /// Returns the key for a reservation made at a time in Unix milliseconds.
    pub fn new(created_at_ms: i64, flow: Id, model: Id, trigger: Trigger) -> Self {
        Self { day: day_name(created_at_ms), flow, model, trigger }
    }

    /// Returns the row's name among the cycle's rows. Names sort by day, then flow, model and trigger.
    pub fn member(&self) -> String {
        format!("{}{SEPARATOR}{}{SEPARATOR}{}{SEPARATOR}{}", self.day, self.flow, self.model, self.trigger.name())
    }

    /// Reads the name of a row.
    pub fn from_member(member: &str) -> Result<Self, Damaged> {
        let mut fields = member.split(SEPARATOR);
        let mut key = || {
            let day = fields.next()?;
            Some(Self {
                day: is_day_name(day).then(|| day.to_owned())?,
                flow: Id::parse(fields.next()?).ok()?,
                model: Id::parse(fields.next()?).ok()?,
                trigger: Trigger::parse(fields.next()?)?,
            })
        };
        let read = key();
        read.filter(|_| fields.next().is_none()).ok_or_else(|| Damaged::new("usage", "not in the expected format"))
    }
}

impl UsageCounts {
    /// Reads the record of a row.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("usage", field));
        Ok(Self { calls: number("calls")?, units: number("units")?, credits: number("credits")? })
    }
}

/// Declares a usage row in a transaction. Returns the writes that count one commit in it.
pub(crate) fn count_commit(
    transaction: &mut Transaction,
    cycle_start_ms: i64,
    key: &UsageKey,
    units: u32,
    credits: i64,
) -> Vec<Write> {
    let rows = transaction.record(keys::usage_rows(cycle_start_ms), Read::Nothing);
    let zero = ["calls", "units", "credits"].map(|field| (field, 0.into()));
    let row = transaction.starting_record(keys::usage_row(cycle_start_ms, &key.member()), Read::Nothing, zero.to_vec());
    vec![
        Write::IndexPut(rows, key.member(), 0.into()),
        Write::Add(row, "calls", 1),
        Write::Add(row, "units", i64::from(units)),
        Write::Add(row, "credits", credits),
    ]
}
