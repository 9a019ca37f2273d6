//! What each kind of write does to hashes and packed records, and that a fault changes nothing.

use tollgate::transaction::{Guard, Key, Linear, NUMBER_LIMIT, Outcome, Read, RecordRef, Transaction, Value, Write};

use super::fixture::{Fixture, NOW_MS, linear, on_every_store, pairs, step, value};

const APPLIED: Outcome = Outcome::Applied { option: 0 };
const STALE: Outcome = Outcome::Stale { guard: None };

on_every_store! {
    additions_to_one_field_accumulate,
    values_use_the_fields_before_the_transaction,
    the_greatest_of_several_expressions_is_written,
    adding_to_a_missing_field_is_stale,
    add_if_present_skips_only_an_absent_hash,
    writes_to_one_hash_are_applied_in_order,
    a_deleted_record_is_absent_and_can_be_created_again,
    a_packed_value_is_its_parts_joined,
    numbers_below_the_limit_are_stored_exactly,
    a_number_at_the_limit_is_a_fault_and_changes_nothing,
    only_the_final_sum_must_be_in_range,
    a_fault_in_one_write_prevents_all_of_them,
    a_malformed_transaction_is_a_fault,
}

/// Returns a transaction whose only option writes to a hash.
fn write(name: &str, writes: impl Fn(RecordRef) -> Vec<Write>) -> Transaction {
    let mut step = step();
    let record = step.record(Key::hash(name), Read::Nothing);
    step.option(vec![], writes(record));
    step
}

async fn additions_to_one_field_accumulate(fixture: &Fixture) {
    fixture.hash("h", &[("n", 10), ("m", 1)]).await;
    let step =
        write("h", |record| vec![Write::Add(record, "n", 5), Write::Add(record, "m", -1), Write::Add(record, "n", -2)]);
    assert_eq!(fixture.outcome(step).await, APPLIED);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("m", "0"), ("n", "13")])));
}

async fn values_use_the_fields_before_the_transaction(fixture: &Fixture) {
    fixture.hash("h", &[("n", 10)]).await;
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Nothing);
    let packed = step.record(Key::packed("p"), Read::Nothing);
    let doubled = || value(linear(2, record, "n", 1));
    step.option(
        vec![],
        vec![
            Write::Add(record, "n", 5),
            Write::Set(record, "doubled", doubled()),
            Write::Put(packed, vec!["n=".into(), doubled()], None),
        ],
    );
    assert_eq!(fixture.outcome(step).await, APPLIED);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("doubled", "21"), ("n", "15")])));
    assert_eq!(fixture.value("p").await.as_deref(), Some("n=21"));
}

async fn the_greatest_of_several_expressions_is_written(fixture: &Fixture) {
    fixture.hash("h", &[("expires_at", NOW_MS + 1_000)]).await;
    let extend = |by| {
        write("h", move |record| {
            let later = vec![linear(1, record, "expires_at", 0), Linear::now_plus(by)];
            vec![Write::Set(record, "expires_at", Value::Greatest(later))]
        })
    };
    fixture.run(extend(500)).await;
    assert_eq!(fixture.number("h", "expires_at").await, NOW_MS + 1_000);
    fixture.run(extend(2_000)).await;
    assert_eq!(fixture.number("h", "expires_at").await, NOW_MS + 2_000);
    let least = vec![Linear::constant(-3), Linear::constant(-7)];
    fixture.run(write("h", |record| vec![Write::Set(record, "n", Value::Greatest(least.clone()))])).await;
    assert_eq!(fixture.number("h", "n").await, -3);
}

async fn adding_to_a_missing_field_is_stale(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1)]).await;
    let mut step = step();
    let present = step.record(Key::hash("h"), Read::Nothing);
    let absent = step.record(Key::hash("absent"), Read::Nothing);
    for writes in [
        vec![Write::Add(present, "n", 1), Write::Add(absent, "n", 1)],
        vec![Write::Add(present, "n", 1), Write::Add(present, "missing", 1)],
        vec![Write::Add(present, "n", 1), Write::AddIfPresent(present, "missing", 1)],
        vec![Write::Add(present, "n", 1), Write::Set(present, "m", linear(1, absent, "n", 0).into())],
    ] {
        let mut step = step.clone();
        step.option(vec![], writes);
        assert_eq!(fixture.outcome(step).await, STALE);
    }
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "1")])));
    assert_eq!(fixture.fields("absent").await, None);
}

async fn add_if_present_skips_only_an_absent_hash(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1)]).await;
    let mut step = step();
    let present = step.record(Key::hash("h"), Read::Nothing);
    let absent = step.record(Key::hash("absent"), Read::Nothing);
    step.option(vec![], vec![Write::AddIfPresent(absent, "n", 5), Write::AddIfPresent(present, "n", 5)]);
    assert_eq!(fixture.outcome(step).await, APPLIED);
    assert_eq!(fixture.number("h", "n").await, 6);
    assert_eq!(fixture.fields("absent").await, None);
}

async fn writes_to_one_hash_are_applied_in_order(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1), ("old", 1)]).await;
    let in_order = write("h", |record| {
        vec![
            Write::Add(record, "n", 1),
            Write::Delete(record),
            Write::Set(record, "n", 10.into()),
            Write::Add(record, "n", 1),
        ]
    });
    assert_eq!(fixture.outcome(in_order).await, APPLIED);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "11")])));
    let gone = write("h", |record| vec![Write::Delete(record), Write::Add(record, "n", 1)]);
    assert_eq!(fixture.outcome(gone).await, STALE);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "11")])));
}

async fn a_deleted_record_is_absent_and_can_be_created_again(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1), ("m", 2)]).await;
    fixture.packed("p", "x").await;
    for _ in 0..2 {
        fixture.write(Key::hash("h"), |record| vec![Write::Delete(record)]).await;
        fixture.write(Key::packed("p"), |record| vec![Write::Delete(record)]).await;
        assert_eq!(fixture.fields("h").await, None);
        assert_eq!(fixture.value("p").await, None);
    }
    fixture.hash("h", &[("n", 3)]).await;
    fixture.packed("p", "y").await;
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "3")])));
    assert_eq!(fixture.value("p").await.as_deref(), Some("y"));
}

async fn a_packed_value_is_its_parts_joined(fixture: &Fixture) {
    let parts = || vec!["open|".into(), 10_000_000_000_000.into(), "|".into(), Value::now(), "|é".into()];
    fixture.write(Key::packed("p"), |record| vec![Write::Put(record, parts(), None)]).await;
    let expected = format!("open|10000000000000|{NOW_MS}|é");
    assert_eq!(fixture.value("p").await, Some(expected.clone()));
    let mut step = step();
    let record = step.record(Key::packed("p"), Read::Nothing);
    step.require(Guard::PackedEquals(record, expected));
    assert_eq!(fixture.outcome(step).await, Outcome::Refused);
}

async fn numbers_below_the_limit_are_stored_exactly(fixture: &Fixture) {
    for number in [10_000_000_000_000, 100_000_000_000_000 / 2 + 1, NUMBER_LIMIT - 1, 1 - NUMBER_LIMIT, 0, -1] {
        fixture.hash("h", &[("n", number)]).await;
        assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", number.to_string().as_str())])));
        let toward_zero = if number > 0 { -1 } else { 1 };
        fixture.run(write("h", |record| vec![Write::Add(record, "n", toward_zero)])).await;
        assert_eq!(fixture.number("h", "n").await, number + toward_zero);
        fixture.index("i", "member", number).await;
        assert_eq!(fixture.entries("i").await, [(number, "member".to_owned())]);
    }
}

async fn a_number_at_the_limit_is_a_fault_and_changes_nothing(fixture: &Fixture) {
    fixture.hash("h", &[("high", NUMBER_LIMIT - 1), ("low", 1 - NUMBER_LIMIT), ("n", 1)]).await;
    let before = fixture.fields("h").await;
    for faulty in [
        |record| Write::Add(record, "high", 1),
        |record| Write::Add(record, "low", -1),
        |record| Write::Set(record, "m", NUMBER_LIMIT.into()),
        |record| Write::Set(record, "m", linear(1, record, "high", 1).into()),
    ] {
        let step = write("h", |record| vec![Write::Add(record, "n", 1), faulty(record), Write::Add(record, "n", 1)]);
        assert!(fixture.fault(step).await.contains("out of range"));
        assert_eq!(fixture.fields("h").await, before);
    }
}

async fn only_the_final_sum_must_be_in_range(fixture: &Fixture) {
    fixture.hash("h", &[("n", NUMBER_LIMIT - 1)]).await;
    let step = write("h", |record| vec![Write::Add(record, "n", 5), Write::Add(record, "n", -6)]);
    assert_eq!(fixture.outcome(step).await, APPLIED);
    assert_eq!(fixture.number("h", "n").await, NUMBER_LIMIT - 2);
}

async fn a_fault_in_one_write_prevents_all_of_them(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1)]).await;
    fixture.write(Key::hash("bad"), |record| vec![Write::Set(record, "n", "x".into())]).await;
    let mut step = step();
    let hash = step.record(Key::hash("h"), Read::Nothing);
    let bad = step.record(Key::hash("bad"), Read::Nothing);
    let packed = step.record(Key::packed("p"), Read::Nothing);
    let index = step.record(Key::index("i"), Read::Nothing);
    let log = step.record(Key::log("l"), Read::Nothing);
    step.starting_record(Key::hash("started"), Read::Nothing, vec![("n", 1.into())]);
    step.option(
        vec![],
        vec![
            Write::Add(hash, "n", 1),
            Write::Put(packed, vec!["x".into()], None),
            Write::IndexPut(index, "m".to_owned(), 1.into()),
            Write::Append { log, fields: vec![("f", 1.into())], keep: None },
            Write::Add(bad, "n", 1),
        ],
    );
    assert!(fixture.fault(step).await.contains("not an integer"));
    assert_eq!(fixture.number("h", "n").await, 1);
    assert_eq!(fixture.value("p").await, None);
    assert_eq!(fixture.entries("i").await, []);
    assert_eq!(fixture.log("l", "", 9).await.0, Vec::<String>::new());
    assert_eq!(fixture.fields("started").await, None);
}

async fn a_malformed_transaction_is_a_fault(fixture: &Fixture) {
    let mut twice = step();
    twice.record(Key::hash("h"), Read::Whole);
    twice.record(Key::hash("h"), Read::Whole);
    let mut wrong_kind = step();
    let index = wrong_kind.record(Key::index("i"), Read::Nothing);
    wrong_kind.option(vec![], vec![Write::Add(index, "n", 1)]);
    let mut wrong_read = step();
    wrong_read.record(Key::log("l"), Read::Whole);
    let mut foreign = step();
    foreign.require(Guard::Present(index));
    let nothing = write("h", |record| vec![Write::Set(record, "n", Value::Greatest(vec![]))]);
    let text_purge = write("h", |record| vec![Write::Set(record, "purge_at", "soon".into())]);
    let brace = Transaction::on(tollgate::transaction::Scope::new("a}b"));
    for malformed in [twice, wrong_kind, wrong_read, foreign, nothing, text_purge, brace] {
        assert!(fixture.fault(malformed).await.contains("malformed"));
    }
}
