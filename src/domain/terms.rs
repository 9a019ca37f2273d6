//! The terms of a team: what it subscribes to. Each change raises their version.

use super::{
    Damaged,
    billing_cycle::Anchor,
    plan::{IncludedCredits, Plan},
};
use crate::transaction::{FieldMap, Value};

/// Maximum number of credits that an override may include. It keeps sums within what a store can add up.
pub const MAX_INCLUDED_CREDITS: i64 = 1_000_000_000_000;

/// The stored cap of a team that has none. It is more than any cap can be.
pub const NO_CAP_BLOCKS: i64 = 1 << 32;

/// Name of the field of [`Terms::no_leases_until_ms`].
pub(crate) const NO_LEASES_UNTIL: &str = "strict_until";

/// What a team subscribes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Number of the change that set these terms, from 1.
    pub version: i64,
    /// The plan.
    pub plan: Plan,
    /// Whether a seat is paid for.
    pub paid_seat: bool,
    /// The day on which the team's cycles begin.
    pub anchor: Anchor,
    /// Included credits that replace the plan's.
    pub included_override: Option<i64>,
    /// Whether commits may buy overage blocks (rule 5).
    pub overages_enabled: bool,
    /// Maximum number of overage blocks per cycle. `None` means no cap.
    pub overage_cap_blocks: Option<u32>,
    /// When the team was created, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When the terms were last changed, in Unix milliseconds.
    pub updated_at_ms: i64,
    /// Until when no lease of the team is granted, in Unix milliseconds, because its leases are being recalled. Until
    /// then every call is written through.
    pub no_leases_until_ms: i64,
}

impl Terms {
    /// Returns the credits that a cycle under these terms includes.
    pub fn included(&self, plans: &IncludedCredits) -> i64 {
        self.included_override.unwrap_or_else(|| plans.of(self.plan, self.paid_seat))
    }

    /// Returns whether overages may be switched on: professional with a paid seat only (rule 5).
    pub fn may_have_overages(&self) -> bool {
        self.plan == Plan::Professional && self.paid_seat
    }

    /// Returns the cap as the store compares it.
    pub fn stored_cap_blocks(&self) -> i64 {
        self.overage_cap_blocks.map_or(NO_CAP_BLOCKS, i64::from)
    }

    /// Reads the record.
    pub fn from_fields(fields: &FieldMap) -> Result<Self, Damaged> {
        let number = |field| fields.number(field).ok_or_else(|| Damaged::field("terms", field));
        let day = |field| u8::try_from(number(field)?).map_err(|_| Damaged::field("terms", field));
        let included = number("included_override")?;
        let cap_blocks = number("overage_cap_blocks")?;
        Ok(Self {
            version: number("version")?,
            plan: Plan::stored(fields.text("plan").unwrap_or_default(), "terms")?,
            paid_seat: number("paid_seat")? == 1,
            anchor: Anchor {
                day: day("anchor_day")?,
                from_ms: number("anchor_from")?,
                previous_day: day("previous_anchor_day")?,
                previous_from_ms: number("previous_anchor_from")?,
            },
            included_override: (included >= 0).then_some(included),
            overages_enabled: number("overages_enabled")? == 1,
            overage_cap_blocks: u32::try_from(cap_blocks).ok(),
            created_at_ms: number("created_at")?,
            updated_at_ms: number("updated_at")?,
            // Teams written by earlier versions do not have the field. They get leases after their next change of
            // terms.
            no_leases_until_ms: fields.text(NO_LEASES_UNTIL).map_or(Ok(0), |_| number(NO_LEASES_UNTIL))?,
        })
    }

    /// Returns the record's fields except for the times, which the store sets.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("version", self.version.into()),
            ("plan", self.plan.name().into()),
            ("paid_seat", i64::from(self.paid_seat).into()),
            ("anchor_day", i64::from(self.anchor.day).into()),
            ("anchor_from", self.anchor.from_ms.into()),
            ("previous_anchor_day", i64::from(self.anchor.previous_day).into()),
            ("previous_anchor_from", self.anchor.previous_from_ms.into()),
            ("included_override", self.included_override.unwrap_or(-1).into()),
            ("overages_enabled", i64::from(self.overages_enabled).into()),
            ("overage_cap_blocks", self.stored_cap_blocks().into()),
        ]
    }
}
