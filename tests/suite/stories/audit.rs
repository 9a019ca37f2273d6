//! The audit log: every accepted change, once and in order, and nothing else.

use tollgate::{
    domain::policy::Policy,
    proto::v1::{AuditEntry, ListAuditEntriesRequest},
    store::StoreLocation,
};
use tonic::{Code, Status};

use super::stage::{MORNING, Stage, TEAM, basic, card, check_refusal, free, professional, violated_field};
use crate::suite::support::{
    kept::Kept,
    servers::{Engine, Server},
};

/// Returns one page and the token of the next.
fn page(stage: &Stage, team: Option<&str>, size: u32, token: &str) -> Result<(Vec<AuditEntry>, String), Status> {
    let request =
        ListAuditEntriesRequest { team_id: team.map(str::to_owned), page_size: size, page_token: token.to_owned() };
    let answer = stage.wait_for(stage.accounts.clone().list_audit_entries(request))?.into_inner();
    Ok((answer.entries, answer.next_page_token))
}

/// Returns all entries, read in pages of at most this size.
fn entries(stage: &Stage, team: Option<&str>, size: u32) -> Vec<AuditEntry> {
    let (mut all, mut token) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let (rows, next) = page(stage, team, size, &token).unwrap();
        assert!(rows.len() <= usize::try_from(size).unwrap(), "a page of {} rows", rows.len());
        all.extend(rows);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
    panic!("the list has no end");
}

/// Returns all entries in short form: team, change, and the plan before and after.
fn summaries(stage: &Stage, team: Option<&str>, size: u32) -> Vec<String> {
    let plan = |terms: &str| terms.split([' ', '=']).nth(1).unwrap_or_default().to_owned();
    let words = |entry: AuditEntry| match entry.change.as_str() {
        "rate card" => format!("{}{}", entry.change, entry.team_id),
        _ => format!("{} {} {}>{}", entry.team_id, entry.change, plan(&entry.before), plan(&entry.after)),
    };
    entries(stage, team, size).into_iter().map(words).collect()
}

/// Makes changes of two rate cards and three teams.
fn changed(store: &StoreLocation) -> Stage {
    let stage = Stage::empty(store, MORNING, Policy::default());
    for (version, time) in [("july", "2025-07-01T00:00:00Z"), ("august", "2025-08-01T00:00:00Z")] {
        stage.announce(card(version, time, &[("gpt-4", 1)])).unwrap();
    }
    stage.put(free());
    stage.put(basic().of("another"));
    stage.put(professional().with_seat());
    // A repeat of the present terms and a refused card change nothing.
    stage.put(professional().with_seat());
    stage.announce(card("july", "2025-07-01T00:00:00Z", &[("gpt-4", 2)])).unwrap_err();
    stage.overages_capped_at(3);
    stage.put(free().of("zoo"));
    stage
}

fn lists_every_change_once(store: &StoreLocation) {
    let stage = changed(store);
    let of_team = ["team team >free", "team team free>professional", "team overages professional>professional"];
    let cards = ["rate card", "rate card", "another team >basic"];
    let all = [&cards[..], &of_team, &["zoo team >free"]].concat();
    for size in [1, 2, 3, 4, 5, 6, 7, 1_000] {
        assert_eq!(summaries(&stage, None, size), all, "in pages of {size}");
        assert_eq!(summaries(&stage, Some(TEAM), size), of_team, "in pages of {size}");
    }
}

#[test]
fn every_accepted_change_is_listed_once_in_memory() {
    lists_every_change_once(&StoreLocation::Memory);
}

#[test]
fn every_accepted_change_is_listed_once_on_a_file() {
    lists_every_change_once(&Kept::embedded().location());
}

#[test]
fn every_accepted_change_is_listed_once_on_redis() {
    let server = Server::start(Engine::Redis);
    lists_every_change_once(&server.location());
}

#[test]
fn an_entry_has_caller_time_and_both_values() {
    let stage = changed(&StoreLocation::Memory);
    let all = entries(&stage, None, 1_000);
    let card: serde_json::Value = serde_json::from_str(&all[0].after).unwrap();
    assert_eq!((&card["version"], all[0].team_id.as_str(), all[0].before.as_str()), (&"july".into(), "", ""));
    let overages = entries(&stage, Some(TEAM), 1_000).pop().unwrap();
    assert!(overages.before.ends_with("overages=off"), "{}", overages.before);
    assert_eq!(
        overages.after,
        "plan=professional paid_seat=true billing_anchor_day=1 included_credits=plan overages=on, at most 3 blocks"
    );
    assert!(overages.caller.starts_with("127.0.0.1:"), "{}", overages.caller);
    assert_eq!(overages.at, Some(super::stage::moment(MORNING)));
}

#[test]
fn teams_without_further_entries_do_not_end_the_list() {
    let stage = Stage::empty(&StoreLocation::Memory, MORNING, Policy::default());
    for number in 0..250 {
        stage.put(free().of(&format!("team-{number:03}")));
    }
    assert_eq!(entries(&stage, None, 1_000).len(), 250);
}

#[test]
fn audit_of_an_unknown_team_is_refused() {
    let stage = changed(&StoreLocation::Memory);
    check_refusal(&page(&stage, Some("nobody"), 0, "").unwrap_err(), Code::NotFound, "TEAM_NOT_FOUND");
    let malformed = page(&stage, Some("a/b"), 0, "").unwrap_err();
    check_refusal(&malformed, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(violated_field(&malformed), "team_id");
}

fn refuses_foreign_tokens(stage: &Stage, foreign: &[&str]) {
    for token in foreign {
        for team in [None, Some(TEAM)] {
            let refused = page(stage, team, 0, token).unwrap_err();
            check_refusal(&refused, Code::InvalidArgument, "INVALID_FIELD");
            assert_eq!(violated_field(&refused), "page_token", "{token}");
        }
    }
    for token in ["another", "another|", "!"] {
        assert_eq!(violated_field(&page(stage, Some(TEAM), 0, token).unwrap_err()), "page_token", "{token}");
    }
}

#[test]
fn a_foreign_page_token_is_refused() {
    let stage = changed(&StoreLocation::Memory);
    let of_redis = ["team|1-0", "!|1-0"];
    let of_nobody = ["|", "team|x", "team|(1", "team|-1", "team|1\r\n", "a b|1", "!|99999999999999999999"];
    refuses_foreign_tokens(&stage, &[&of_redis[..], &of_nobody].concat());
    let server = Server::start(Engine::Redis);
    let stage = changed(&server.location());
    refuses_foreign_tokens(&stage, &["team|1", "!|1", "team|-", "team|1-", "team|1-2-3", "!|99999999999999999999-1"]);
}
