//! `tollgate audit`: lists the changes of teams and rate cards.

use clap::Args;
use serde::Serialize;
use serde_json::Map;

use super::{
    changes::describe,
    connection::{AdminArguments, PAGE_SIZE, for_each_row},
    error::Stop,
    list::List,
    output::{Column, OutputArguments, format_count},
    timestamp::{display, rfc3339},
};
use crate::proto::v1::{AuditEntry, ListAuditEntriesRequest};

const COLUMNS: [Column; 5] = [
    Column::Text("at (UTC)"),
    Column::Text("caller"),
    Column::Text("team"),
    Column::Text("change"),
    Column::Text("details"),
];

/// Arguments of `tollgate audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArguments {
    /// Id of the team. Without it, the changes of the rate cards and then of every team
    pub team: Option<String>,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// An entry in JSON. The field names are those of the gRPC contract.
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
    let mut list = List::new(arguments.output, "entries", &COLUMNS);
    let page = async |page_token| {
        let team_id = arguments.team.clone();
        let request = ListAuditEntriesRequest { team_id, page_size: PAGE_SIZE, page_token };
        let answer = sidecar.list_audit_entries(request).await?;
        Ok((answer.entries, answer.next_page_token))
    };
    let mut changes = 0;
    for_each_row(page, |entry| {
        changes += 1;
        list.add(&json(&entry), || cells(&entry))
    })
    .await?;
    list.end(&format_count(changes, "change", "changes"), &Map::new())
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
        display(entry.at),
        entry.caller.clone(),
        team.to_owned(),
        entry.change.clone(),
        describe(&entry.change, &entry.before, &entry.after),
    ]
}
