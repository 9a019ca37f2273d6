//! Several transactions in one call, several scopes, concurrent callers, and the store's time.

use tollgate::{
    store::StoreError,
    transaction::{Guard, Key, Outcome, Read, Record, Scope, Transaction, Write},
};

use super::fixture::{Fixture, NOW_MS, linear, on_every_store, scope, step};

on_every_store! {
    transactions_of_one_call_are_independent_and_in_order,
    a_call_without_transactions_has_no_replies,
    transactions_of_several_scopes_in_one_call_are_a_fault,
    scopes_are_independent,
    names_within_a_scope_are_independent,
    concurrent_callers_never_exceed_a_limit,
    the_time_is_that_of_the_injected_clock,
}

fn add(amount: i64) -> Transaction {
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Whole);
    step.option(vec![], vec![Write::Add(record, "n", amount)]);
    step
}

async fn transactions_of_one_call_are_independent_and_in_order(fixture: &Fixture) {
    fixture.hash("h", &[("n", 0)]).await;
    fixture.write(Key::hash("bad"), |record| vec![Write::Set(record, "n", "x".into())]).await;
    let mut stale = add(10);
    stale.require(Guard::AtMostZero(linear(1, first_record(&mut step()), "n", 0)));
    let mut faulty = add(100);
    let bad = faulty.record(Key::hash("bad"), Read::Nothing);
    faulty.options[0].writes.push(Write::Add(bad, "n", 1));
    let mut malformed = add(1_000);
    malformed.record(Key::hash("h"), Read::Nothing);
    let call = vec![add(1), stale, faulty, malformed, add(10_000)];
    let replies = fixture.store.transact_all(call).await.unwrap();
    assert_eq!(replies.len(), 5);
    assert_eq!(replies[0].as_ref().unwrap().outcome, Outcome::Applied { option: 0 });
    assert_eq!(replies[1].as_ref().unwrap().outcome, Outcome::Stale { guard: Some(0) });
    assert!(matches!(replies[2], Err(StoreError::Fault { .. })));
    assert!(matches!(replies[3], Err(StoreError::Fault { .. })));
    let last = replies[4].as_ref().unwrap();
    assert_eq!(last.outcome, Outcome::Applied { option: 0 });
    assert!(matches!(&last.records[0], Record::Hash(fields) if fields.number("n") == Some(10_001)));
    assert_eq!(fixture.number("h", "n").await, 10_001);
}

/// Returns the reference to a transaction's first record. It is the same in every transaction.
fn first_record(step: &mut Transaction) -> tollgate::transaction::RecordRef {
    step.record(Key::hash("h"), Read::Nothing)
}

async fn a_call_without_transactions_has_no_replies(fixture: &Fixture) {
    assert!(fixture.store.transact_all(vec![]).await.unwrap().is_empty());
}

async fn transactions_of_several_scopes_in_one_call_are_a_fault(fixture: &Fixture) {
    let call = vec![Transaction::on(Scope::new("a")), Transaction::on(Scope::new("b"))];
    assert!(matches!(fixture.store.transact_all(call).await, Err(StoreError::Fault { .. })));
}

async fn scopes_are_independent(fixture: &Fixture) {
    let write = |scope: &str, value: &str| {
        let mut step = Transaction::on(Scope::new(scope));
        let packed = step.record(Key::packed("p"), Read::Whole);
        let index = step.record(Key::index("i"), Read::First { limit: 9, unless_applied: false });
        let log = step.record(Key::log("l"), Read::EntriesAfter { cursor: String::new(), limit: 9 });
        step.option(
            vec![Guard::Absent(packed)],
            vec![
                Write::Put(packed, vec![value.into()], None),
                Write::IndexPut(index, value.to_owned(), 1.into()),
                Write::Append { log, fields: vec![("v", value.into())], keep: None },
            ],
        );
        step
    };
    for scope in ["team", "team-2", "!global", "tea"] {
        let reply = fixture.run(write(scope, scope)).await;
        assert_eq!(reply.outcome, Outcome::Applied { option: 0 });
        assert_eq!(reply.records[0], Record::Packed(scope.to_owned()));
        assert_eq!(reply.records[1], Record::Index(vec![(1, scope.to_owned())]));
        assert!(matches!(&reply.records[2], Record::Log(entries) if entries.len() == 1));
    }
    assert_eq!(fixture.outcome(write("team", "again")).await, Outcome::Refused);
}

async fn names_within_a_scope_are_independent(fixture: &Fixture) {
    for name in ["a", "aa", "a:b", "b"] {
        fixture.index(&format!("index {name}"), name, 1).await;
        fixture
            .write(Key::log(format!("log {name}")), |log| {
                vec![Write::Append { log, fields: vec![("v", name.into())], keep: Some(1) }]
            })
            .await;
    }
    for name in ["a", "aa", "a:b", "b"] {
        assert_eq!(fixture.entries(&format!("index {name}")).await, [(1, name.to_owned())]);
        assert_eq!(fixture.log(&format!("log {name}"), "", 9).await.0, [name]);
    }
}

async fn concurrent_callers_never_exceed_a_limit(fixture: &Fixture) {
    fixture.hash("h", &[("n", 0)]).await;
    let calls = (0..100).map(|_| {
        let store = fixture.store.clone();
        let mut step = Transaction::on(scope());
        let record = step.record(Key::hash("h"), Read::Nothing);
        step.option(vec![Guard::AtMostZero(linear(1, record, "n", 7 - 100))], vec![Write::Add(record, "n", 7)]);
        tokio::spawn(async move { store.transact(step).await.unwrap().outcome })
    });
    let calls: Vec<_> = calls.collect();
    let mut applied = 0;
    for call in calls {
        applied += i64::from(call.await.unwrap() == Outcome::Applied { option: 0 });
    }
    assert_eq!(applied, 100 / 7);
    assert_eq!(fixture.number("h", "n").await, 7 * applied);
}

async fn the_time_is_that_of_the_injected_clock(fixture: &Fixture) {
    assert_eq!(fixture.run(step()).await.now_ms, NOW_MS);
    fixture.clock.advance_ms(1_234);
    assert_eq!(fixture.run(step()).await.now_ms, NOW_MS + 1_234);
}
