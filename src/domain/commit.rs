//! Commit: finalizes the cost of a reservation in the cycle that it was made in (rules 5 to 7), exactly once (I2).
//!
//! This file splits the commit into amounts. [`charging`](super::charging) decides how they enter the account.

use super::{
    account::{Account, before, not_before},
    charging::{ChargeRecords, CommitAmounts},
    id::Id,
    keys,
    policy::Policy,
    reservation::{BackedReservation, Basis, Charged, State},
    settlement::Settlement,
    usage::{UsageKey, count_commit},
};
use crate::transaction::{Linear, Read};

/// What a commit assumes, apart from its reservation.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitAssumptions<'a> {
    /// The reservation's account as it was last seen, if it was.
    pub account: Option<&'a Account>,
    /// Whether leases are recalled before an excess uses anything but the allotment.
    pub recall_leases_first: bool,
}

/// Builds the transaction that charges a reservation, which is assumed to be as given.
///
/// `charged.late` must say whether the hold has run out at the assumed time. The transaction checks it.
pub fn commit(
    team: &Id,
    id: &Id,
    held: &BackedReservation,
    charged: &Charged,
    assumptions: CommitAssumptions<'_>,
    policy: &Policy,
) -> Settlement {
    let mut step = Settlement::of(team, id, held);
    let reservation = &held.reservation;
    let (content, terms) = (&reservation.content, &reservation.terms);
    if reservation.state == State::Open {
        let in_time = if charged.late { not_before } else { before };
        step.transaction.require(in_time(reservation.expires_at_ms));
        step.transaction.require(before(held.forgotten_at_ms(policy)));
    }
    let held_counter = step.held_counter().filter(|_| reservation.state == State::Open);
    let held = if held_counter.is_some() { terms.credits } else { 0 };
    let covered = if charged.late { 0 } else { held.min(charged.credits) };
    let completes_run = terms.basis == Basis::RunCompletion;
    let charge = CommitAmounts {
        released: if completes_run { 0 } else { held },
        held_counter: held_counter.unwrap_or("held"),
        promised: if completes_run { 0 } else { covered },
        excess: charged.credits - covered,
        run_completion: if completes_run { covered } else { 0 },
        basis: terms.basis,
    };

    let key = UsageKey::new(reservation.created_at_ms, content.flow.clone(), charged.model.clone(), content.trigger);
    let mut writes = step.settle(&State::Committed(charged.clone()), Linear::now_plus(0), policy.commit_retention_ms());
    writes.extend(count_commit(&mut step.transaction, terms.cycle.start_ms, &key, charged.units, charged.credits));
    writes.extend(step.count_in_run(charged, policy));
    writes.extend(step.give_back_run_completion(held - covered));

    let charges = step.transaction.record(keys::charges(terms.cycle.start_ms), Read::Nothing);
    let open_leases = (charge.excess > 0 && assumptions.recall_leases_first).then(|| step.declare_open_leases());
    let ledger = ChargeRecords { account: step.account, charges, holds: step.holds, open_leases };
    for mut choice in charge.options(ledger, assumptions.account) {
        step.effects.push(ledger.effects_of(&choice));
        choice.writes.extend_from_slice(&writes);
        step.transaction.options.push(choice);
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            billing_cycle::Cycle,
            plan::Plan,
            reservation::{self, Reservation},
        },
        transaction::Guard,
    };

    /// A commit within its hold needs no more options than there are rules for it.
    #[test]
    fn a_commit_within_its_hold_has_one_option_per_rule() {
        let id = |text| Id::parse(text).unwrap();
        let reservation = Reservation {
            content: reservation::Content {
                flow: id("flow"),
                run: Some(id("run")),
                block: Some(id("block")),
                model: id("gpt-4"),
                units: 1,
                trigger: reservation::Trigger::Run,
            },
            terms: reservation::ReservationTerms {
                credits: 25,
                basis: Basis::Allotment,
                cycle: Cycle { start_ms: 0, end_ms: 86_400_000 },
                rate_card: id("card"),
                plan: Plan::Professional,
            },
            created_at_ms: 1_000,
            expires_at_ms: 121_000,
            state: State::Open,
            settled_at_ms: None,
        };
        let charged = Charged { credits: 25, units: 1, model: id("gpt-4"), late: false };
        let step = commit(
            &id("team"),
            &id("reservation"),
            &reservation.into(),
            &charged,
            CommitAssumptions::default(),
            &Policy::default(),
        );
        assert_eq!(
            step.transaction.options.len(),
            4,
            "within, or a block is bought, or waived as overages are off, or at their cap"
        );
        assert!(matches!(step.transaction.require[0], Guard::PackedEquals(..)));
    }
}
