//! Which option is applied, and which records it creates.

use tollgate::transaction::{Guard, Key, Outcome, Read, Record, Value, Write};

use super::fixture::{Fixture, NOW_MS, linear, on_every_store, pairs, sorted, step};

on_every_store! {
    the_first_option_that_holds_is_applied_and_no_other,
    options_after_the_applied_one_are_not_evaluated,
    a_transaction_is_refused_if_no_option_holds,
    a_transaction_without_options_only_reads,
    an_applied_option_creates_records_with_initial_fields,
    guards_and_writes_see_the_fields_a_record_starts_with,
    initial_fields_do_not_change_an_existing_record,
    an_option_without_writes_creates_no_record,
    a_stale_or_refused_transaction_creates_no_record,
    a_reply_has_the_records_after_the_writes,
}

async fn the_first_option_that_holds_is_applied_and_no_other(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5)]).await;
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Nothing);
    step.option(vec![Guard::AtMostZero(linear(1, record, "n", -4))], vec![Write::Add(record, "n", 100)]);
    step.option(
        vec![Guard::Present(record), Guard::AtMostZero(linear(1, record, "n", -5))],
        vec![Write::Add(record, "n", 10)],
    );
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    assert_eq!(fixture.outcome(step.clone()).await, Outcome::Applied { option: 1 });
    assert_eq!(fixture.number("h", "n").await, 15);
    assert_eq!(fixture.outcome(step).await, Outcome::Applied { option: 2 });
    assert_eq!(fixture.number("h", "n").await, 16);
}

async fn options_after_the_applied_one_are_not_evaluated(fixture: &Fixture) {
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Nothing);
    let missing = Guard::FieldEquals(record, "n", "1".to_owned());
    step.option(vec![Guard::Present(record), missing.clone()], vec![]);
    step.option(vec![Guard::Absent(record)], vec![]);
    step.option(vec![missing], vec![]);
    assert_eq!(fixture.outcome(step).await, Outcome::Applied { option: 1 });
}

async fn a_transaction_is_refused_if_no_option_holds(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5)]).await;
    let mut step = step();
    let record = step.record(Key::hash("h"), Read::Whole);
    step.option(vec![Guard::Absent(record)], vec![Write::Add(record, "n", 1)]);
    let reply = fixture.run(step).await;
    assert_eq!(reply.outcome, Outcome::Refused);
    assert!(matches!(&reply.records[0], Record::Hash(fields) if fields.number("n") == Some(5)));
}

async fn a_transaction_without_options_only_reads(fixture: &Fixture) {
    fixture.packed("p", "x").await;
    let mut step = step();
    step.record(Key::packed("p"), Read::Whole);
    step.record(Key::hash("absent"), Read::Whole);
    step.record(Key::packed("absent too"), Read::Whole);
    step.record(Key::packed("unread"), Read::Nothing);
    let reply = fixture.run(step).await;
    assert_eq!((reply.outcome, reply.now_ms), (Outcome::Refused, NOW_MS));
    assert_eq!(reply.records, [Record::Packed("x".to_owned()), Record::Absent, Record::Absent, Record::NotRead]);
}

async fn an_applied_option_creates_records_with_initial_fields(fixture: &Fixture) {
    let mut step = step();
    let start = vec![("n", 0.into()), ("text", "a".into()), ("until", Value::now_plus(5))];
    step.starting_record(Key::hash("started"), Read::Whole, start);
    let other = step.record(Key::packed("p"), Read::Nothing);
    step.option(vec![], vec![Write::Put(other, vec!["x".into()], None)]);
    let reply = fixture.run(step).await;
    let until = (NOW_MS + 5).to_string();
    let expected = pairs(&[("n", "0"), ("text", "a"), ("until", until.as_str())]);
    assert!(matches!(&reply.records[0], Record::Hash(fields) if sorted(fields.clone()) == expected));
    assert_eq!(fixture.fields("started").await, Some(expected));
}

async fn guards_and_writes_see_the_fields_a_record_starts_with(fixture: &Fixture) {
    let mut step = step();
    let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 7.into())]);
    step.require(Guard::AtMostZero(linear(1, record, "n", -7)));
    let twice = linear(2, record, "n", 0);
    step.option(vec![], vec![Write::Add(record, "n", 1), Write::Set(record, "twice", twice.into())]);
    let reply = fixture.run(step).await;
    assert_eq!(reply.outcome, Outcome::Applied { option: 0 });
    assert!(matches!(&reply.records[0], Record::Hash(fields) if fields.number("n") == Some(8)));
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "8"), ("twice", "14")])));
}

async fn initial_fields_do_not_change_an_existing_record(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5)]).await;
    let mut step = step();
    let record = step.starting_record(Key::hash("h"), Read::Nothing, vec![("n", 0.into()), ("more", 1.into())]);
    step.option(vec![], vec![Write::Add(record, "n", 1)]);
    fixture.run(step).await;
    assert_eq!(fixture.fields("h").await, Some(pairs(&[("n", "6")])));
}

async fn an_option_without_writes_creates_no_record(fixture: &Fixture) {
    let mut step = step();
    let record = step.starting_record(Key::hash("h"), Read::Whole, vec![("n", 0.into())]);
    step.option(vec![Guard::Absent(record)], vec![]);
    let reply = fixture.run(step).await;
    assert_eq!(reply.outcome, Outcome::Applied { option: 0 });
    assert_eq!(reply.records, [Record::Absent]);
    assert_eq!(fixture.fields("h").await, None);
}

async fn a_stale_or_refused_transaction_creates_no_record(fixture: &Fixture) {
    let mut refused = step();
    let record = refused.starting_record(Key::hash("h"), Read::Whole, vec![("n", 0.into())]);
    refused.option(vec![Guard::Present(record)], vec![Write::Add(record, "n", 1)]);
    let mut stale = refused.clone();
    stale.require(Guard::Present(record));
    for (step, outcome) in [(refused, Outcome::Refused), (stale, Outcome::Stale { guard: Some(0) })] {
        let reply = fixture.run(step).await;
        assert_eq!((reply.outcome, reply.records), (outcome, vec![Record::Absent]));
    }
    assert_eq!(fixture.fields("h").await, None);
}

async fn a_reply_has_the_records_after_the_writes(fixture: &Fixture) {
    fixture.hash("h", &[("n", 5), ("other", 1)]).await;
    fixture.packed("p", "old").await;
    fixture.packed("gone", "x").await;
    fixture.index("i", "a", 1).await;
    let mut step = step();
    let hash = step.record(Key::hash("h"), Read::Whole);
    let packed = step.record(Key::packed("p"), Read::Whole);
    let gone = step.record(Key::packed("gone"), Read::Whole);
    let index = step.record(Key::index("i"), Read::First { limit: 9, unless_applied: false });
    let left_out = step.record(Key::index("j"), Read::First { limit: 9, unless_applied: true });
    let log = step.record(Key::log("l"), Read::EntriesAfter { cursor: String::new(), limit: 9 });
    step.option(
        vec![],
        vec![
            Write::Add(hash, "n", 1),
            Write::Put(packed, vec!["new".into()], None),
            Write::Delete(gone),
            Write::IndexPut(index, "b".to_owned(), 0.into()),
            Write::IndexPut(left_out, "c".to_owned(), 0.into()),
            Write::Append { log, fields: vec![("f", "v".into())], keep: None },
        ],
    );
    let reply = fixture.run(step).await;
    let mut records = reply.records.into_iter();
    assert!(
        matches!(records.next(), Some(Record::Hash(fields)) if sorted(fields.clone()) == pairs(&[("n", "6"), ("other", "1")]))
    );
    assert_eq!(records.next(), Some(Record::Packed("new".to_owned())));
    assert_eq!(records.next(), Some(Record::Absent));
    assert_eq!(records.next(), Some(Record::Index(vec![(0, "b".to_owned()), (1, "a".to_owned())])));
    assert_eq!(records.next(), Some(Record::NotRead));
    assert!(
        matches!(records.next(), Some(Record::Log(entries)) if entries.len() == 1 && entries[0].fields.text("f") == Some("v"))
    );
}
