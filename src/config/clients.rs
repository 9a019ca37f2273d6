//! Reads `[clients]`: the teams for which each client of the data listener may call.

use super::{
    document::{Node, NodeValue},
    problem::{Problems, shortened},
    table_reader::{list, text},
};
use crate::{domain::id::Id, serve::Clients};

/// Key of the table in the file.
pub(super) const KEY: &str = "clients";

/// Stands for all teams in a client's list.
pub(super) const ALL: &str = "*";

/// Reads the table. Its keys are client names as certificates have them, and its values are lists of teams.
///
/// Entries that are not valid are reported and omitted.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Clients {
    let NodeValue::Table(entries) = &node.value else {
        problems.add(KEY, node.line, format!("must be a table, not {}", node.value.type_name()));
        return Clients::default();
    };
    if entries.is_empty() {
        problems.add(
            KEY,
            node.line,
            "has no clients, so that every call would be rejected; add a client, or remove the table",
        );
    }
    let mut clients = Clients::default();
    for (client, node) in entries {
        let path = format!("{KEY}.{}", shortened(client));
        match list(team)(node) {
            Ok(teams) if teams.is_empty() => {
                problems.add(&path, node.line, format!("has no teams; \"{ALL}\" means all teams"));
            }
            // One `None` in the list collects into `None`: all teams.
            Ok(teams) => clients = clients.with(client.as_str(), teams.into_iter().collect()),
            Err(message) => problems.add(&path, node.line, message),
        }
    }
    clients
}

/// Reads a team. `None` means all teams.
fn team(node: &Node) -> Result<Option<Id>, String> {
    let team = text(node)?;
    if team == ALL {
        return Ok(None);
    }
    Id::parse(&team).map(Some).map_err(|problem| format!("has a team id that {problem}; \"{ALL}\" means all teams"))
}
