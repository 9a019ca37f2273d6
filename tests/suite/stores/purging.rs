//! Purge times: from its purge time on, a record is absent in every respect.

use tollgate::transaction::{Guard, Key, Linear, Outcome, PURGE_AT, Read, Record, Value, Write};

use super::fixture::{Fixture, NOW_MS, on_every_store, option_of, pairs, precondition_of, step};

const APPLIED: Outcome = Outcome::Applied { option: 0 };

on_every_store! {
    a_packed_record_is_absent_from_its_purge_time_on,
    a_hash_is_absent_from_its_purge_time_on,
    a_purge_time_can_be_postponed_and_removed,
    a_purged_hash_starts_without_its_old_fields,
    setting_a_purged_hash_drops_its_old_fields,
    a_purge_time_may_be_computed,
    a_record_written_with_a_past_purge_time_is_absent,
    many_purged_records_are_all_absent,
}

async fn put(fixture: &Fixture, name: &str, value: &'static str, purge_in_ms: Option<i64>) {
    let purge_at = purge_in_ms.map(Value::now_plus);
    fixture.write(Key::packed(name), |record| vec![Write::Put(record, vec![value.into()], purge_at.clone())]).await;
}

async fn a_packed_record_is_absent_from_its_purge_time_on(fixture: &Fixture) {
    put(fixture, "p", "settled", Some(100)).await;
    fixture.clock.advance_ms(99);
    assert_eq!(fixture.value("p").await.as_deref(), Some("settled"));
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.value("p").await, None);
    assert_eq!(fixture.outcome(option_of(Key::packed("p"), Guard::Absent)).await, APPLIED);
    let equals = |record| Guard::PackedEquals(record, "settled".to_owned());
    assert_eq!(fixture.outcome(precondition_of(Key::packed("p"), equals)).await, Outcome::Stale { guard: Some(0) });
    put(fixture, "p", "open", None).await;
    fixture.clock.advance_ms(1_000_000);
    assert_eq!(fixture.value("p").await.as_deref(), Some("open"));
}

async fn a_hash_is_absent_from_its_purge_time_on(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1), (PURGE_AT, NOW_MS + 100)]).await;
    fixture.clock.advance_ms(99);
    assert_eq!(fixture.number("h", "n").await, 1);
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.fields("h").await, None);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), Guard::Absent)).await, APPLIED);
    let mut add = step();
    let record = add.record(Key::hash("h"), Read::Nothing);
    let mut add_if_present = add.clone();
    add.option(vec![], vec![Write::Add(record, "n", 1)]);
    assert_eq!(fixture.outcome(add).await, Outcome::Stale { guard: None });
    add_if_present.option(vec![], vec![Write::AddIfPresent(record, "n", 1)]);
    assert_eq!(fixture.outcome(add_if_present).await, APPLIED);
    assert_eq!(fixture.fields("h").await, None);
}

async fn a_purge_time_can_be_postponed_and_removed(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1), (PURGE_AT, NOW_MS + 100)]).await;
    fixture.hash("h", &[(PURGE_AT, NOW_MS + 200)]).await;
    put(fixture, "p", "x", Some(100)).await;
    put(fixture, "p", "y", None).await;
    fixture.clock.advance_ms(150);
    assert_eq!(fixture.number("h", "n").await, 1);
    assert_eq!(fixture.value("p").await.as_deref(), Some("y"));
    fixture.clock.advance_ms(50);
    assert_eq!(fixture.fields("h").await, None);
    assert_eq!(fixture.value("p").await.as_deref(), Some("y"));
}

async fn a_purged_hash_starts_without_its_old_fields(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5), ("old", 1), (PURGE_AT, NOW_MS + 1)]).await;
    fixture.clock.advance_ms(1);
    let mut step = step();
    let record = step.starting_record(Key::hash("h"), Read::Nothing, vec![("n", 0.into())]);
    step.require(Guard::Absent(record));
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    assert_eq!(fixture.outcome(step).await, APPLIED);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "1")])));
    fixture.clock.advance_ms(1_000);
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "1")])));
}

async fn setting_a_purged_hash_drops_its_old_fields(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5), ("old", 1), (PURGE_AT, NOW_MS + 1)]).await;
    fixture.clock.advance_ms(1);
    fixture.hash("h", &[("n", 7)]).await;
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "7")])));
}

async fn a_purge_time_may_be_computed(fixture: &Fixture) {
    fixture.hash("h", &[("until", NOW_MS + 500)]).await;
    let mut step = step();
    let hash = step.record(Key::hash("h"), Read::Nothing);
    let packed = step.record(Key::packed("p"), Read::Nothing);
    let purge_at = Value::Greatest(vec![Linear::now_plus(100), Linear::default().plus(1, hash, "until")]);
    step.option(vec![], vec![Write::Put(packed, vec!["x".into()], Some(purge_at))]);
    fixture.run(step).await;
    fixture.clock.advance_ms(499);
    assert_eq!(fixture.value("p").await.as_deref(), Some("x"));
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.value("p").await, None);
}

async fn a_record_written_with_a_past_purge_time_is_absent(fixture: &Fixture) {
    put(fixture, "p", "old", None).await;
    let mut step = step();
    let hash = step.record(Key::hash("h"), Read::Whole);
    let packed = step.record(Key::packed("p"), Read::Whole);
    let writes =
        vec![Write::Set(hash, PURGE_AT, Value::now()), Write::Put(packed, vec!["x".into()], Some(Value::now_plus(-5)))];
    step.option(vec![], writes);
    assert_eq!(fixture.run(step).await.records, [Record::Absent, Record::Absent]);
    assert_eq!(fixture.fields("h").await, None);
    assert_eq!(fixture.value("p").await, None);
}

async fn many_purged_records_are_all_absent(fixture: &Fixture) {
    for number in 0..50 {
        put(fixture, &format!("p{number}"), "x", Some(10 + number)).await;
    }
    put(fixture, "stays", "x", Some(1_000)).await;
    fixture.clock.advance_ms(100);
    for number in 0..50 {
        assert_eq!(fixture.value(&format!("p{number}")).await, None);
    }
    assert_eq!(fixture.value("stays").await.as_deref(), Some("x"));
}
