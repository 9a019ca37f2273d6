//! Encodes the gate's answers as the contract's responses.

mod account;
mod quota;
mod usage;

use prost_types::Timestamp;

pub use self::account::rate_card;
pub(super) use self::{
    account::{audit_entries, rate_cards, team, teams},
    quota::{begin_run, commit, end_run, extend, get_reservation, release, reserve},
    usage::{charges, usage},
};
use crate::{domain::reservation::Trigger, gate::calls::Balance, proto::v1};

/// Encodes Unix milliseconds.
fn moment(at_ms: i64) -> Timestamp {
    // The remainder of a division by 1,000 is below 1,000, so its nanoseconds fit.
    let nanos = i32::try_from(at_ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    Timestamp { seconds: at_ms.div_euclid(1_000), nanos }
}

fn balance(balance: &Balance) -> v1::Balance {
    let account = &balance.account;
    v1::Balance {
        plan: balance.plan.name().to_owned(),
        cycle_start: Some(moment(account.cycle.start_ms)),
        cycle_end: Some(moment(account.cycle.end_ms)),
        included: account.included,
        waived: account.waived,
        overage: account.overage(),
        used: account.used,
        run_completion: account.run_completion,
        above_hold: account.above_hold,
        held: account.held + account.leased,
        remaining: account.remaining(),
        overages_enabled: balance.overages_enabled,
        next_rate_card: balance.next_rate_card.clone().unwrap_or_default(),
    }
}

fn trigger(trigger: Trigger) -> v1::Trigger {
    match trigger {
        Trigger::Run => v1::Trigger::Run,
        Trigger::Test => v1::Trigger::Test,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{account::Account, billing_cycle::Cycle, plan::Plan};

    #[test]
    fn moments_before_1970_have_nanos_that_count_forward() {
        assert_eq!(moment(1_001), Timestamp { seconds: 1, nanos: 1_000_000 });
        assert_eq!(moment(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    }

    /// Leased credits count as held, and remaining is never negative.
    #[test]
    fn leased_credits_count_as_held() {
        let account = Account {
            cycle: Cycle { start_ms: 0, end_ms: 1 },
            included: 500,
            waived: 20,
            blocks: 2,
            used: 2_000,
            run_completion: 30,
            above_hold: 7,
            held: 300,
            leased: 40,
            overages_enabled: true,
            cap_blocks: 5,
        };
        let balance = |account| {
            super::balance(&Balance { plan: Plan::Professional, account, overages_enabled: true, next_rate_card: None })
        };
        let encoded = balance(account.clone());
        assert_eq!((encoded.overage, encoded.held, encoded.remaining), (2_000, 340, 180));
        assert_eq!(balance(Account { used: 2_500, ..account }).remaining, 0);
    }
}
