//! What a story reads: balances, usage, charges, teams and reservations.

use tollgate::proto::v1::{
    Balance, Charge, GetReservationRequest, GetTeamRequest, GetUsageRequest, ListChargesRequest, Reservation,
    ReservationState, Team, UsageRow,
};
use tonic::Status;

use super::{
    Stage, TEAM,
    answers::{at, moment},
    is_from_leases,
};

/// A balance, which a story compares with its expectations.
///
/// Where leases answer calls, leased credits that are not drawn count as held. Then at least the expected credits are held, and
/// at most the expected credits remain. Their sum must be exact, and together with the used credits it is the allotment.
pub(crate) struct Books {
    pub(crate) balance: Balance,
    expected_held: Option<i64>,
    expected_remaining: Option<i64>,
}

macro_rules! counters {
    ($($counter:ident),*) => {
        impl Books {
            $(
                #[track_caller]
                pub(crate) fn $counter(self, expected: i64) -> Self {
                    assert_eq!(self.balance.$counter, expected, "{} in {:?}", stringify!($counter), self.balance);
                    self
                }
            )*
        }
    };
}

counters!(included, waived, overage, used, run_completion, above_hold);

impl Books {
    pub(crate) fn of(balance: Balance) -> Self {
        Self { balance, expected_held: None, expected_remaining: None }
    }

    #[track_caller]
    pub(crate) fn held(mut self, expected: i64) -> Self {
        let held = self.balance.held;
        let as_expected = if is_from_leases() { held >= expected } else { held == expected };
        assert!(as_expected, "{held} are held instead of {expected} in {:?}", self.balance);
        self.expected_held = Some(expected);
        self.add_up()
    }

    #[track_caller]
    pub(crate) fn remaining(mut self, expected: i64) -> Self {
        let remaining = self.balance.remaining;
        let as_expected = if is_from_leases() { remaining <= expected } else { remaining == expected };
        assert!(as_expected, "{remaining} remain instead of {expected} in {:?}", self.balance);
        self.expected_remaining = Some(expected);
        self.add_up()
    }

    #[track_caller]
    fn add_up(self) -> Self {
        let Balance { included, waived, overage, used, held, remaining, .. } = &self.balance;
        let left = (included + waived + overage - used - held).max(0);
        assert_eq!(*remaining, left, "{:?}", self.balance);
        if let (Some(expected_held), Some(expected_remaining)) = (self.expected_held, self.expected_remaining) {
            assert_eq!(held + remaining, expected_held + expected_remaining, "{:?}", self.balance);
        }
        self
    }

    /// Checks that it is the balance of this cycle.
    #[track_caller]
    pub(crate) fn of_cycle(self, start: &str, end: &str) -> Self {
        assert_eq!((at(self.balance.cycle_start), at(self.balance.cycle_end)), (midnight(start), midnight(end)));
        self
    }

    #[track_caller]
    pub(crate) fn next_rate_card(self, version: &str) -> Self {
        assert_eq!(self.balance.next_rate_card, version);
        self
    }
}

fn midnight(day: &str) -> String {
    format!("{day}T00:00:00Z")
}

impl Stage {
    /// Returns the current balance of the team.
    #[track_caller]
    pub(crate) fn balance(&self) -> Books {
        Books::of(self.usage_of(None).unwrap().0)
    }

    /// Returns the team's balance in the cycle that contains this time.
    #[track_caller]
    pub(crate) fn balance_at(&self, time: &str) -> Books {
        Books::of(self.usage_of(Some(time)).unwrap().0)
    }

    /// Returns the team's usage in the current cycle.
    #[track_caller]
    pub(crate) fn usage_rows(&self) -> Vec<UsageRow> {
        self.usage_of(None).unwrap().1
    }

    pub(crate) fn usage_of(&self, time: Option<&str>) -> Result<(Balance, Vec<UsageRow>), Status> {
        let request =
            GetUsageRequest { team_id: TEAM.to_owned(), cycle_start: time.map(moment), ..GetUsageRequest::default() };
        let usage = self.wait_for(self.usage.clone().get_usage(request))?.into_inner();
        Ok((usage.balance.unwrap(), usage.rows))
    }

    /// Checks that exactly these blocks were charged, and returns the charges.
    #[track_caller]
    pub(crate) fn has_charges(&self, expected: &[&str]) -> Vec<Charge> {
        let request = ListChargesRequest { team_id: Some(TEAM.to_owned()), ..ListChargesRequest::default() };
        let charges = self.wait_for(self.usage.clone().list_charges(request)).unwrap().into_inner().charges;
        let ids: Vec<&str> = charges.iter().map(|charge| charge.charge_id.as_str()).collect();
        assert_eq!(ids, expected);
        assert!(charges.iter().all(|charge| charge.credits == 1_000 && charge.team_id == TEAM), "{charges:?}");
        charges
    }

    /// Returns the team.
    #[track_caller]
    pub(crate) fn team(&self) -> Team {
        let request = GetTeamRequest { team_id: TEAM.to_owned() };
        self.wait_for(self.accounts.clone().get_team(request)).unwrap().into_inner().team.unwrap()
    }

    /// Returns a reservation.
    pub(crate) fn look_up(&self, reservation: &str) -> Result<Reservation, Status> {
        let request = GetReservationRequest { team_id: TEAM.to_owned(), reservation_id: reservation.to_owned() };
        let answer = self.wait_for(self.quota.clone().get_reservation(request))?;
        Ok(answer.into_inner().reservation.unwrap())
    }

    /// Returns the state of a reservation.
    #[track_caller]
    pub(crate) fn state_of(&self, reservation: &str) -> ReservationState {
        self.look_up(reservation).unwrap().state()
    }
}
