//! `[clients]`: for which teams each client of the data listener may ask.

use super::{
    document::{Content, Node},
    fields::{list, text},
    problem::{Problems, short},
};
use crate::{domain::id::Id, serve::Clients};

/// The key of the file.
pub(super) const KEY: &str = "clients";

/// What stands for every team.
pub(super) const ALL: &str = "*";

/// Reads the table: what certificates call clients, and of each a list of teams. What is wrong is left out.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Clients {
    let Content::Table(entries) = &node.content else {
        problems.add(KEY, node.line, format!("must be a table, and is {}", node.content.name()));
        return Clients::default();
    };
    if entries.is_empty() {
        problems.add(
            KEY,
            node.line,
            "names no client, so that none could ask for anything; name some, or leave it out",
        );
    }
    let mut clients = Clients::default();
    for (client, node) in entries {
        let path = format!("{KEY}.{}", short(client));
        match list(team)(node) {
            Ok(teams) if teams.is_empty() => {
                problems.add(&path, node.line, format!("names no team; \"{ALL}\" is all of them"));
            }
            // One that stands for all teams makes it all of them.
            Ok(teams) => clients = clients.with(client.as_str(), teams.into_iter().collect()),
            Err(sentence) => problems.add(&path, node.line, sentence),
        }
    }
    clients
}

/// A team; `None` is all of them.
fn team(node: &Node) -> Result<Option<Id>, String> {
    let team = text(node)?;
    if team == ALL {
        return Ok(None);
    }
    Id::parse(&team).map(Some).map_err(|problem| format!("has a team that {problem}; \"{ALL}\" is all of them"))
}
