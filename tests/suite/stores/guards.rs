//! When each kind of guard holds, and what is reported if it does not.

use tollgate::transaction::{Guard, Key, Linear, Outcome, Read};

use super::fixture::{Fixture, NOW_MS, linear, on_every_store, option_of, precondition_of, step};

const STALE_AT_0: Outcome = Outcome::Stale { guard: Some(0) };
const STALE: Outcome = Outcome::Stale { guard: None };
/// The option was applied. It has no writes.
const HOLDS: Outcome = Outcome::Applied { option: 0 };

on_every_store! {
    absent_and_present_look_at_hashes_and_packed_records,
    initial_fields_do_not_make_a_record_present,
    packed_equals_compares_the_whole_value,
    field_equals_compares_texts_and_decimals,
    at_most_zero_adds_up_fields_time_and_constants,
    at_most_zero_is_exact_for_large_numbers,
    a_missing_field_is_stale_and_never_zero,
    a_field_that_is_not_an_integer_is_a_fault,
    an_expression_out_of_range_is_a_fault,
    nothing_due_looks_at_the_lowest_score_and_the_time,
    nothing_ahead_looks_at_the_highest_score_and_the_time,
    the_first_failed_precondition_is_reported,
}

async fn absent_and_present_look_at_hashes_and_packed_records(fixture: &Fixture) {
    for key in [Key::hash("h"), Key::packed("p")] {
        assert_eq!(fixture.outcome(option_of(key.clone(), Guard::Absent)).await, HOLDS);
        assert_eq!(fixture.outcome(option_of(key.clone(), Guard::Present)).await, Outcome::Refused);
        assert_eq!(fixture.outcome(precondition_of(key, Guard::Present)).await, STALE_AT_0);
    }
    fixture.hash("h", &[("n", 1)]).await;
    fixture.packed("p", "").await;
    for key in [Key::hash("h"), Key::packed("p")] {
        assert_eq!(fixture.outcome(option_of(key.clone(), Guard::Present)).await, HOLDS);
        assert_eq!(fixture.outcome(option_of(key.clone(), Guard::Absent)).await, Outcome::Refused);
        assert_eq!(fixture.outcome(precondition_of(key, Guard::Absent)).await, STALE_AT_0);
    }
}

async fn initial_fields_do_not_make_a_record_present(fixture: &Fixture) {
    let mut step = step();
    let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 1.into())]);
    step.require(Guard::Absent(record));
    step.require(Guard::FieldEquals(record, "n", "1".to_owned()));
    step.require(Guard::Present(record));
    assert_eq!(fixture.outcome(step).await, Outcome::Stale { guard: Some(2) });
}

async fn packed_equals_compares_the_whole_value(fixture: &Fixture) {
    let equals = |value: &'static str| move |record| Guard::PackedEquals(record, value.to_owned());
    assert_eq!(fixture.outcome(option_of(Key::packed("p"), equals(""))).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::packed("p"), equals(""))).await, STALE_AT_0);
    fixture.packed("p", "open|7|a").await;
    assert_eq!(fixture.outcome(option_of(Key::packed("p"), equals("open|7|a"))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::packed("p"), equals("open|7"))).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::packed("p"), equals("open|7|b"))).await, STALE_AT_0);
}

async fn field_equals_compares_texts_and_decimals(fixture: &Fixture) {
    fixture.hash("h", &[("n", -12)]).await;
    let equals = |text: &'static str| move |record| Guard::FieldEquals(record, "n", text.to_owned());
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), equals("-12"))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), equals("-12.0"))).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::hash("h"), equals("12"))).await, STALE_AT_0);
}

async fn at_most_zero_adds_up_fields_time_and_constants(fixture: &Fixture) {
    fixture.hash("h", &[("used", 30), ("limit", 100)]).await;
    // used + amount - limit <= 0
    let fits = |amount| move |record| Guard::AtMostZero(linear(1, record, "used", amount).plus(-1, record, "limit"));
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), fits(70))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), fits(71))).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::hash("h"), fits(71))).await, STALE_AT_0);
    let weighted = |constant| move |record| Guard::AtMostZero(linear(-3, record, "used", constant));
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), weighted(90))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), weighted(91))).await, Outcome::Refused);
    let before = |moment: i64| move |_| Guard::AtMostZero(Linear::now_plus(1 - moment));
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), before(NOW_MS + 1))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), before(NOW_MS))).await, Outcome::Refused);
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), before(NOW_MS + 1))).await, Outcome::Refused);
}

async fn at_most_zero_is_exact_for_large_numbers(fixture: &Fixture) {
    const LARGE: i64 = 70_000_000_000_001;
    fixture.hash("h", &[("n", LARGE)]).await;
    let above = |constant: i64| move |record| Guard::AtMostZero(linear(100, record, "n", constant));
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), above(-100 * LARGE))).await, HOLDS);
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), above(1 - 100 * LARGE))).await, Outcome::Refused);
}

async fn a_missing_field_is_stale_and_never_zero(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1)]).await;
    let counts = |record| Guard::AtMostZero(linear(1, record, "missing", -5));
    let equals = |record| Guard::FieldEquals(record, "missing", String::new());
    for key in [Key::hash("h"), Key::hash("absent")] {
        assert_eq!(fixture.outcome(precondition_of(key.clone(), counts)).await, STALE_AT_0);
        assert_eq!(fixture.outcome(precondition_of(key.clone(), equals)).await, STALE_AT_0);
        assert_eq!(fixture.outcome(option_of(key.clone(), counts)).await, STALE);
        assert_eq!(fixture.outcome(option_of(key, equals)).await, STALE);
    }
}

async fn a_field_that_is_not_an_integer_is_a_fault(fixture: &Fixture) {
    for text in ["", "x", "1e3", "0x10", " 1", "1.0", "+1", "-"] {
        fixture.write(Key::hash("h"), |record| vec![tollgate::transaction::Write::Set(record, "n", text.into())]).await;
        let counts = |record| Guard::AtMostZero(linear(1, record, "n", 0));
        assert!(fixture.fault(option_of(Key::hash("h"), counts)).await.contains("not an integer"), "{text}");
        assert!(fixture.fault(precondition_of(Key::hash("h"), counts)).await.contains("not an integer"), "{text}");
    }
}

async fn an_expression_out_of_range_is_a_fault(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1 << 40)]).await;
    let times = |coefficient| move |record| Guard::AtMostZero(linear(coefficient, record, "n", 0));
    assert_eq!(fixture.outcome(option_of(Key::hash("h"), times((1 << 13) - 1))).await, Outcome::Refused);
    assert!(fixture.fault(option_of(Key::hash("h"), times(1 << 13))).await.contains("out of range"));
    assert!(fixture.fault(option_of(Key::hash("h"), times(-(1 << 13)))).await.contains("out of range"));
    let time = |_: _| Guard::AtMostZero(Linear { terms: vec![], now: 1 << 13, constant: -(1 << 52) });
    assert!(fixture.fault(option_of(Key::hash("h"), time)).await.contains("out of range"));
}

async fn nothing_due_looks_at_the_lowest_score_and_the_time(fixture: &Fixture) {
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingDue)).await, HOLDS);
    fixture.index("i", "late", NOW_MS + 100).await;
    fixture.index("i", "soon", NOW_MS + 10).await;
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingDue)).await, HOLDS);
    fixture.clock.advance_ms(9);
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingDue)).await, HOLDS);
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingDue)).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::index("i"), Guard::NothingDue)).await, STALE_AT_0);
}

async fn nothing_ahead_looks_at_the_highest_score_and_the_time(fixture: &Fixture) {
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingAhead)).await, HOLDS);
    fixture.index("i", "due", NOW_MS - 10).await;
    // Indexes whose names are neighbours of its name, and a member that gets another score.
    fixture.index("h", "member", NOW_MS + 1_000).await;
    fixture.index("i2", "member", NOW_MS + 1_000).await;
    fixture.index("i", "moved", NOW_MS + 1_000).await;
    fixture.index("i", "moved", NOW_MS).await;
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingAhead)).await, HOLDS);
    fixture.index("i", "ahead", NOW_MS + 2).await;
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingAhead)).await, Outcome::Refused);
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingAhead)).await, Outcome::Refused);
    assert_eq!(fixture.outcome(precondition_of(Key::index("i"), Guard::NothingAhead)).await, STALE_AT_0);
    fixture.clock.advance_ms(1);
    assert_eq!(fixture.outcome(option_of(Key::index("i"), Guard::NothingAhead)).await, HOLDS);
}

async fn the_first_failed_precondition_is_reported(fixture: &Fixture) {
    fixture.hash("h", &[("n", 1)]).await;
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Whole);
    step.require(Guard::Present(record));
    step.require(Guard::FieldEquals(record, "n", "2".to_owned()));
    step.require(Guard::Absent(record));
    step.option(vec![], vec![]);
    let reply = fixture.run(step).await;
    assert_eq!(reply.outcome, Outcome::Stale { guard: Some(1) });
    assert_eq!(reply.now_ms, NOW_MS);
    assert!(matches!(&reply.records[0], tollgate::transaction::Record::Hash(fields) if fields.number("n") == Some(1)));
}
