//! The worked examples in the documentation of `domain/charging.rs`, each committed to a store.

use tollgate::{
    clock::{Clock, ManualClock},
    domain::{
        account::Account,
        billing_cycle::Anchor,
        commit::{CommitAssumptions, commit},
        id::Id,
        keys,
        listing::AccountQuery,
        plan::Plan,
        policy::Policy,
        reservation::{Basis, Charged, Content, Reservation, ReservationTerms, State, Trigger},
        settlement::SettlementVerdict,
        terms::{NO_CAP_BLOCKS, Terms},
        terms_change::{TeamSettings, TermsChange},
    },
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Read, Transaction, Write},
};

use super::{super::support::STORE_WAIT, START_MS};

/// Overages of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overages {
    Off,
    On,
    AtCap,
}

/// The counters that an example shows after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    used: i64,
    blocks: i64,
    above_hold: i64,
    waived: i64,
    run_completion: i64,
}

fn counters(used: i64, blocks: i64, above_hold: i64, waived: i64) -> Counters {
    Counters { used, blocks, above_hold, waived, run_completion: 0 }
}

/// Returns an account that has used 480 of 500 credits, with this hold.
fn account(overages: Overages, reservation: &Reservation) -> Account {
    let held = if reservation.state == State::Open && reservation.terms.basis != Basis::RunCompletion {
        reservation.terms.credits
    } else {
        0
    };
    let settings =
        TeamSettings { plan: Plan::Professional, paid_seat: true, anchor_day: 1, included_override: Some(500) };
    Account {
        used: 480,
        held,
        overages_enabled: overages != Overages::Off,
        cap_blocks: if overages == Overages::AtCap { 0 } else { NO_CAP_BLOCKS },
        ..Account::new(reservation.terms.cycle, 500, &settings.first_terms())
    }
}

fn reservation(credits: i64, basis: Basis, state: State) -> Reservation {
    let id = |text| Id::parse(text).unwrap();
    Reservation {
        content: Content {
            flow: id("flow"),
            run: Some(id("run")),
            block: Some(id("block")),
            model: id("gpt-4"),
            units: 1,
            trigger: Trigger::Run,
        },
        terms: ReservationTerms {
            credits,
            basis,
            cycle: Anchor::new(1).cycle_at(START_MS),
            rate_card: id("2025-01-22"),
            plan: Plan::Professional,
        },
        created_at_ms: START_MS - 1_000,
        expires_at_ms: START_MS + 60_000,
        settled_at_ms: (state != State::Open).then_some(START_MS),
        state,
    }
}

/// Returns the counters after `reservation` was committed at 25 credits.
async fn committed(account: &Account, reservation: &Reservation, last_seen: Option<&Account>) -> Counters {
    let (team, id) = (Id::parse("team").unwrap(), Id::parse("r").unwrap());
    let clock = Clock::Manual(ManualClock::at(START_MS));
    let options = StoreOptions { clock, wait: STORE_WAIT, ..StoreOptions::default() };
    let store = Store::open(&StoreLocation::Memory, options).await.unwrap();
    let first: Terms =
        TeamSettings { plan: Plan::Professional, paid_seat: true, anchor_day: 1, included_override: Some(500) }
            .first_terms();
    store.transact(TermsChange::create(&team, &first, "test").transaction).await.unwrap();
    let mut stage = Transaction::on(keys::team(&team));
    let account_record = stage.record(keys::account(account.cycle.start_ms), Read::Nothing);
    let reservation_record = stage.record(keys::reservation(&id), Read::Nothing);
    let mut writes: Vec<_> =
        account.fields().into_iter().map(|(field, value)| Write::Set(account_record, field, value)).collect();
    writes.push(Write::Put(reservation_record, vec![reservation.packed().into()], None));
    stage.option(Vec::new(), writes);
    store.transact(stage).await.unwrap();

    let late = reservation.state != State::Open;
    let charged = Charged { credits: 25, units: 1, model: reservation.content.model.clone(), late };
    let assumptions = CommitAssumptions { account: last_seen, recall_leases_first: true };
    let mut step = commit(&team, &id, &reservation.clone().into(), &charged, assumptions, &Policy::default());
    let reply = store.transact(step.transaction.take()).await.unwrap();
    assert!(matches!(step.verdict(&reply).unwrap(), SettlementVerdict::Done(_)), "{reply:?}");
    let mut query = AccountQuery::new(&team, account.cycle.start_ms);
    let reply = store.transact(query.transaction.take()).await.unwrap();
    let Account { used, blocks, above_hold, waived, run_completion, held, .. } =
        query.account(&reply).unwrap().unwrap();
    assert_eq!(held, 0, "the hold is over");
    store.close().await;
    Counters { used, blocks, above_hold, waived, run_completion }
}

#[tokio::test]
async fn each_example_of_charging_ends_as_documented() {
    let run_completion = Counters { run_completion: 25, ..counters(480, 0, 0, 0) };
    let table = [
        ("the excess is above hold", 20, Basis::Allotment, State::Open, Overages::Off, counters(500, 0, 5, 0)),
        ("a block is bought for the excess", 20, Basis::Allotment, State::Open, Overages::On, counters(505, 1, 0, 0)),
        ("the cap leaves no block", 20, Basis::Allotment, State::Open, Overages::AtCap, counters(500, 0, 5, 0)),
        ("the overage that was granted", 25, Basis::Overage, State::Open, Overages::On, counters(505, 1, 0, 0)),
        ("it buys though they are off now", 25, Basis::Overage, State::Open, Overages::Off, counters(505, 1, 0, 0)),
        ("the allotment was lowered", 25, Basis::Allotment, State::Open, Overages::Off, counters(505, 0, 0, 5)),
        ("the commit is late", 25, Basis::Allotment, State::Expired, Overages::Off, counters(480, 0, 25, 0)),
        ("run completion", 25, Basis::RunCompletion, State::Open, Overages::Off, run_completion),
    ];
    for (case, credits, basis, state, overages, expected) in table {
        let reservation = reservation(credits, basis, state);
        let account = account(overages, &reservation);
        for last_seen in [None, Some(&account)] {
            assert_eq!(committed(&account, &reservation, last_seen).await, expected, "{case}");
        }
    }
}
