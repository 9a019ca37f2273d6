//! `tollgate audit`: who changed teams and rate cards, when, and what.

use clap::Args;
use serde::Serialize;
use serde_json::Map;

use super::{
    changes::logged,
    connection::{Admin, PAGE_SIZE, each},
    failure::Stop,
    list::List,
    moment::{rfc3339, shown},
    output::{Column, OutputArguments, counted},
};
use crate::proto::v1::{AuditEntry, ListAuditEntriesRequest};

const COLUMNS: [Column; 5] = [
    Column::Text("at (UTC)"),
    Column::Text("caller"),
    Column::Text("team"),
    Column::Text("change"),
    Column::Text("what"),
];

/// Whose changes to list.
#[derive(Args, Clone, Debug)]
pub struct AuditArguments {
    /// The team's id; without it, the changes of the rate cards, and then those of every team
    pub team: Option<String>,
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
}

/// An entry for programs; the names are the contract's.
#[derive(Serialize)]
struct EntryJson<'a> {
    at: String,
    caller: &'a str,
    team_id: Option<&'a str>,
    change: &'a str,
    before: Option<&'a str>,
    after: &'a str,
}

pub(super) async fn run(arguments: AuditArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let mut list = List::new(arguments.format, "entries", &COLUMNS);
    let page = async |page_token| {
        let team_id = arguments.team.clone();
        let request = ListAuditEntriesRequest { team_id, page_size: PAGE_SIZE, page_token };
        let answer = sidecar.list_audit_entries(request).await?;
        Ok((answer.entries, answer.next_page_token))
    };
    let mut changes = 0;
    each(page, |entry| {
        changes += 1;
        list.add(&json(&entry), || cells(&entry))
    })
    .await?;
    list.end(&counted(changes, "change", "changes"), &Map::new())
}

fn json(entry: &AuditEntry) -> EntryJson<'_> {
    EntryJson {
        at: rfc3339(entry.at),
        caller: &entry.caller,
        team_id: unless_empty(&entry.team_id),
        change: &entry.change,
        before: unless_empty(&entry.before),
        after: &entry.after,
    }
}

fn unless_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn cells(entry: &AuditEntry) -> Vec<String> {
    let team = if entry.team_id.is_empty() { "–" } else { &entry.team_id };
    vec![
        shown(entry.at),
        entry.caller.clone(),
        team.to_owned(),
        entry.change.clone(),
        logged(&entry.change, &entry.before, &entry.after),
    ]
}
