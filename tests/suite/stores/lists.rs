//! Indexes and logs: their order, paging, and removal of entries.

use tollgate::transaction::{Key, Outcome, Read, Record, Value, Write};

use super::fixture::{Fixture, NOW_MS, on_every_store, step};

on_every_store! {
    an_index_is_in_the_order_of_score_then_member,
    an_index_gives_at_most_the_limit,
    a_member_put_again_has_its_new_score,
    a_removed_member_is_gone,
    members_are_paged_in_the_order_of_their_bytes,
    the_first_entries_are_left_out_only_if_applied,
    a_log_keeps_its_order_and_is_paged_by_cursor,
    a_log_drops_its_oldest_entries_beyond_its_limit,
    a_foreign_cursor_is_a_fault_and_nothing_is_written,
    a_missing_index_or_log_reads_as_empty,
}

fn entries(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(score, member)| (*score, (*member).to_owned())).collect()
}

async fn an_index_is_in_the_order_of_score_then_member(fixture: &Fixture) {
    for (member, score) in [("b", 2), ("z", -1), ("a", 2), ("B", 2), ("é", 2), ("c", 10), ("y", NOW_MS)] {
        fixture.index("i", member, score).await;
    }
    let expected = entries(&[(-1, "z"), (2, "B"), (2, "a"), (2, "b"), (2, "é"), (10, "c"), (NOW_MS, "y")]);
    assert_eq!(fixture.entries("i").await, expected);
}

async fn an_index_gives_at_most_the_limit(fixture: &Fixture) {
    for number in 0..5 {
        fixture.index("i", &format!("m{number}"), number).await;
    }
    for limit in [0, 1, 4, 5, 6] {
        let first = Read::First { limit, unless_applied: false };
        let Record::Index(found) = fixture.read(Key::index("i"), first).await else { panic!("no index") };
        assert_eq!(found.len(), usize::try_from(limit.min(5)).unwrap());
        let after = Read::MembersAfter { member: String::new(), limit };
        let Record::Index(found) = fixture.read(Key::index("i"), after).await else { panic!("no index") };
        assert_eq!(found.len(), usize::try_from(limit.min(5)).unwrap());
    }
}

async fn a_member_put_again_has_its_new_score(fixture: &Fixture) {
    fixture.index("i", "a", 1).await;
    fixture.index("i", "b", 2).await;
    fixture.index("i", "a", 3).await;
    fixture.index("i", "b", 2).await;
    assert_eq!(fixture.entries("i").await, entries(&[(2, "b"), (3, "a")]));
}

async fn a_removed_member_is_gone(fixture: &Fixture) {
    fixture.index("i", "a", 1).await;
    fixture.index("i", "b", 2).await;
    for _ in 0..2 {
        fixture.write(Key::index("i"), |record| vec![Write::IndexRemove(record, "a".to_owned())]).await;
        assert_eq!(fixture.entries("i").await, entries(&[(2, "b")]));
    }
    fixture.write(Key::index("i"), |record| vec![Write::IndexRemove(record, "b".to_owned())]).await;
    assert_eq!(fixture.entries("i").await, []);
}

async fn members_are_paged_in_the_order_of_their_bytes(fixture: &Fixture) {
    let members = ["", "A", "a", "aa", "b", "é"];
    for member in members.iter().rev() {
        fixture.index("i", member, 7).await;
        fixture.index("j", member, 7).await;
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let read = Read::MembersAfter { member: after.clone(), limit: 2 };
        let Record::Index(page) = fixture.read(Key::index("i"), read).await else { panic!("no index") };
        let Some((score, last)) = page.last().cloned() else { break };
        assert_eq!(score, 7);
        after = last;
        found.extend(page.into_iter().map(|(_, member)| member));
    }
    assert_eq!(found, members);
    let read = Read::MembersAfter { member: "aZ".to_owned(), limit: 1 };
    assert_eq!(fixture.read(Key::index("i"), read).await, Record::Index(entries(&[(7, "aa")])));
}

async fn the_first_entries_are_left_out_only_if_applied(fixture: &Fixture) {
    fixture.index("i", "a", 1).await;
    let mut refused = step();
    refused.record(Key::index("i"), Read::First { limit: 1, unless_applied: true });
    let mut applied = refused.clone();
    applied.option(vec![], vec![]);
    assert_eq!(fixture.run(refused).await.records, [Record::Index(entries(&[(1, "a")]))]);
    let reply = fixture.run(applied).await;
    assert_eq!((reply.outcome, reply.records), (Outcome::Applied { option: 0 }, vec![Record::NotRead]));
}

async fn append(fixture: &Fixture, entry: i64, keep: Option<u32>) {
    fixture
        .write(Key::log("l"), |log| {
            vec![Write::Append { log, fields: vec![("n", entry.into()), ("at", Value::now())], keep }]
        })
        .await;
}

async fn a_log_keeps_its_order_and_is_paged_by_cursor(fixture: &Fixture) {
    for entry in 0..5 {
        append(fixture, entry, None).await;
    }
    let (first, cursor) = fixture.log("l", "", 2).await;
    let (second, cursor) = fixture.log("l", &cursor, 2).await;
    let (third, cursor) = fixture.log("l", &cursor, 2).await;
    assert_eq!([first, second, third].concat(), ["0", "1", "2", "3", "4"]);
    assert!(fixture.log("l", &cursor, 2).await.0.is_empty());
    assert!(fixture.log("l", "", 0).await.0.is_empty());
    append(fixture, 5, None).await;
    assert_eq!(fixture.log("l", &cursor, 2).await.0, ["5"]);
    let read = Read::EntriesAfter { cursor, limit: 2 };
    let Record::Log(found) = fixture.read(Key::log("l"), read).await else { panic!("no log") };
    assert_eq!((found[0].fields.number("n"), found[0].fields.number("at")), (Some(5), Some(NOW_MS)));
}

async fn a_log_drops_its_oldest_entries_beyond_its_limit(fixture: &Fixture) {
    for entry in 0..5 {
        append(fixture, entry, Some(3)).await;
    }
    let (found, cursor) = fixture.log("l", "", 9).await;
    assert_eq!(found, ["2", "3", "4"]);
    append(fixture, 5, Some(2)).await;
    assert_eq!(fixture.log("l", "", 9).await.0, ["4", "5"]);
    append(fixture, 6, Some(0)).await;
    assert!(fixture.log("l", "", 9).await.0.is_empty());
    append(fixture, 7, None).await;
    assert_eq!(fixture.log("l", &cursor, 9).await.0, ["7"]);
}

async fn a_foreign_cursor_is_a_fault_and_nothing_is_written(fixture: &Fixture) {
    append(fixture, 1, None).await;
    let last = "18446744073709551615";
    for foreign in ["foreign", "-", "-1", "1-x", "1-2-3", &format!("{last}-{last}"), &format!("{last}0")] {
        let mut step = step();
        let log = step.record(Key::log("l"), Read::EntriesAfter { cursor: foreign.to_owned(), limit: 1 });
        let hash = step.record(Key::hash("h"), Read::Nothing);
        let fields = vec![("n", 2.into())];
        step.option(vec![], vec![Write::Set(hash, "n", 1.into()), Write::Append { log, fields, keep: None }]);
        fixture.fault(step).await;
        assert_eq!(fixture.fields("h").await, None, "{foreign}");
        assert_eq!(fixture.log("l", "", 9).await.0, ["1"], "{foreign}");
    }
}

async fn a_missing_index_or_log_reads_as_empty(fixture: &Fixture) {
    assert_eq!(fixture.entries("i").await, []);
    let after = Read::MembersAfter { member: "a".to_owned(), limit: 5 };
    assert_eq!(fixture.read(Key::index("i"), after).await, Record::Index(vec![]));
    assert!(fixture.log("l", "", 5).await.0.is_empty());
}
