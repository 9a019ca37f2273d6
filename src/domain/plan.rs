//! Plans, and the credits that each includes in a cycle (rule 2).

use serde::{Deserialize, Serialize};

use super::Damaged;

/// The plan of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// `free`
    Free,
    /// `basic`
    Basic,
    /// `professional`
    Professional,
}

impl Plan {
    /// All plans.
    pub const ALL: [Self; 3] = [Self::Free, Self::Basic, Self::Professional];

    /// Returns the plan with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.name() == name)
    }

    /// Returns the plan's name in the contract and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Basic => "basic",
            Self::Professional => "professional",
        }
    }

    pub(crate) fn stored(name: &str, record: &'static str) -> Result<Self, Damaged> {
        Self::parse(name).ok_or_else(|| Damaged::new(record, "unknown plan"))
    }
}

/// Included credits per billing cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncludedCredits {
    /// Without a paid seat, on every plan.
    pub without_seat: i64,
    /// With a paid seat, on free.
    pub free: i64,
    /// With a paid seat, on basic.
    pub basic: i64,
    /// With a paid seat, on professional.
    pub professional: i64,
}

impl IncludedCredits {
    /// What the product sells.
    pub const SHIPPED: Self = Self { without_seat: 500, free: 5_000, basic: 25_000, professional: 100_000 };

    /// Returns the credits that a cycle of that plan includes.
    pub fn of(&self, plan: Plan, paid_seat: bool) -> i64 {
        match (paid_seat, plan) {
            (false, _) => self.without_seat,
            (true, Plan::Free) => self.free,
            (true, Plan::Basic) => self.basic,
            (true, Plan::Professional) => self.professional,
        }
    }
}
