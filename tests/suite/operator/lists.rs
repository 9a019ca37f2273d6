//! Lists with several pages, and the audit logs on every kind of store.

use futures::{StreamExt as _, stream};
use tollgate::store::StoreLocation;

use super::{bash, json, text};
use crate::suite::support::{
    client::team_without_seat,
    kept::Kept,
    servers::{Engine, Server},
    sidecar::Sidecar,
};

/// More teams than a page or one printed table has rows.
const TEAMS: usize = 1_005;

/// Number of demo teams, which exist as well.
const DEMO_TEAMS: usize = 3;

async fn many_teams() -> Sidecar {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    let teams = stream::iter(0..TEAMS).map(|number| client.put_team(team_without_seat(&format!("t-{number:04}"), 1)));
    teams.buffer_unordered(64).collect::<Vec<()>>().await;
    sidecar
}

#[tokio::test]
async fn every_team_of_several_pages_is_listed_once() {
    let sidecar = many_teams().await;
    let list = json(&sidecar, &["team", "list"]);
    let ids: Vec<_> = list["teams"].as_array().unwrap().iter().map(|team| team["team_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), TEAMS + DEMO_TEAMS);
    assert!(ids.is_sorted_by(|one, other| one < other), "each once, in order");
    let table = text(&sidecar, &["team", "list"]);
    assert_eq!(table.lines().filter(|line| line.starts_with("│ t-")).count(), TEAMS);
    assert_eq!(table.lines().filter(|line| line.starts_with("│ team")).count(), 2, "a table ends after 1,000 rows");
    assert!(table.ends_with("1,008 teams\n"));
    let audit = json(&sidecar, &["audit"]);
    assert_eq!(audit["entries"].as_array().unwrap().len(), TEAMS + DEMO_TEAMS);
    assert!(text(&sidecar, &["audit"]).ends_with("1,008 changes\n"));
}

/// A command succeeds if the reader of its output stops early, as `head` does.
#[tokio::test]
async fn a_reader_that_stops_early_is_no_failure() {
    let sidecar = many_teams().await;
    for (reader, read) in [("head -n 1", 1), ("true", 0)] {
        for arguments in ["team list", "team list --json", "audit", "usage t-0001", "completions bash"] {
            let admin = if arguments.starts_with("completions") { "" } else { "--admin \"$1\"" };
            let line = format!("set -o pipefail; \"$0\" {arguments} {admin} | {reader}");
            let output = bash(&line, &[sidecar.admin()]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && error.is_empty(), "{arguments}: {error}");
            assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), read, "{arguments}");
        }
    }
}

fn audit_shows_who_changed_what(store: &StoreLocation) {
    let sidecar = Sidecar::start(store);
    let card = tempfile::NamedTempFile::new().unwrap();
    let rate = r#"{"model": "gpt-4", "unit": "call", "credits": 1}"#;
    let body = format!(r#"{{"version": "next", "effective_at": "2100-01-01T00:00:00Z", "rates": [{rate}]}}"#);
    std::fs::write(card.path(), body).unwrap();
    text(&sidecar, &["team", "put", "acme", "--plan", "free"]);
    text(&sidecar, &["rates", "put", card.path().to_str().unwrap()]);
    text(&sidecar, &["team", "put", "acme", "--plan", "professional", "--seat"]);
    text(&sidecar, &["team", "overages", "acme", "on", "--cap", "2"]);

    let of_team = [
        "plan free; paid seat no; anchor day 1; included credits the plan's; overages off",
        "plan free → professional; paid seat no → yes",
        "overages off → on, at most 2 blocks",
    ];
    let table = text(&sidecar, &["audit", "acme"]);
    let details = |table: &str| -> Vec<String> {
        let rows = table.lines().filter(|line| line.starts_with("│ 2"));
        rows.map(|row| row.rsplit('┆').next().unwrap().trim_end_matches('│').trim().to_owned()).collect()
    };
    assert_eq!(details(&table), of_team, "{table}");
    let all = text(&sidecar, &["audit"]);
    assert_eq!(details(&all)[..2], ["next, from 2100-01-01, 1 rates", of_team[0]], "{all}");

    let entries = json(&sidecar, &["audit"])["entries"].clone();
    assert_eq!((&entries[0]["team_id"], &entries[0]["change"]), (&serde_json::Value::Null, &"rate card".into()));
    assert_eq!((&entries[1]["team_id"], &entries[1]["before"]), (&"acme".into(), &serde_json::Value::Null));
    for entry in entries.as_array().unwrap() {
        assert!(entry["at"].as_str().unwrap().ends_with('Z') && !entry["caller"].as_str().unwrap().is_empty());
    }
    let admin_is_a_socket = entries[1]["caller"].as_str().unwrap().starts_with("unix:");
    assert!(admin_is_a_socket, "{}", entries[1]["caller"]);
}

#[test]
fn the_audit_shows_who_changed_what_in_memory() {
    audit_shows_who_changed_what(&StoreLocation::Memory);
}

#[test]
fn the_audit_shows_who_changed_what_on_a_file() {
    audit_shows_who_changed_what(&Kept::embedded().location());
}

#[test]
fn the_audit_shows_who_changed_what_on_redis() {
    let server = Server::start(Engine::Redis);
    audit_shows_who_changed_what(&server.location());
}
