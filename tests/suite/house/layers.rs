//! The layers of the crate: a module of the top level uses only those that the table in docs/internals/architecture.md allows.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{SourceFile, pattern, read, source_files};

const PAGE: &str = "docs/internals/architecture.md";

/// Which layers each layer may use.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Reads the table under `## Layers`: ``| `store` | `transaction`, `clock` |``, with `-` for a layer that uses no other.
fn table() -> Table {
    let page = read(PAGE);
    let section = page.split("\n## ").find(|section| section.starts_with("Layers\n"));
    let section = section.unwrap_or_else(|| panic!("{PAGE} has no section `## Layers`"));
    let (row, name) = (pattern(r"(?m)^\| `(\w+)` \|(.*)\|$"), pattern(r"`(\w+)`"));
    let names = |cell: &str| name.captures_iter(cell).map(|found| found[1].to_owned()).collect();
    let table: Table = row.captures_iter(section).map(|found| (found[1].to_owned(), names(&found[2]))).collect();
    assert!(!table.is_empty(), "{PAGE} has no table of layers");
    table
}

/// Returns the top-level modules of src/.
fn layers(files: &[SourceFile]) -> BTreeSet<&str> {
    files.iter().filter_map(|file| file.module.first()).map(String::as_str).collect()
}

/// Which other layers the layers use: the user, what it uses, and where.
fn uses(files: &[SourceFile]) -> Vec<(&str, String, String)> {
    let layers = layers(files);
    let mut uses = Vec::new();
    for file in files {
        let Some(user) = file.module.first() else { continue };
        for mention in file.mentions() {
            let Some(used) = mention.segments.first().filter(|&used| used != user && layers.contains(used.as_str()))
            else {
                continue;
            };
            let place = format!("{}:{}: crate::{}", file.path, mention.line, mention.segments.join("::"));
            uses.push((user.as_str(), used.clone(), place));
        }
    }
    uses
}

#[test]
fn each_layer_uses_only_what_the_table_allows() {
    let (table, files) = (table(), source_files());
    let allows = |user: &str, used: &String| table.get(user).is_none_or(|allowed| allowed.contains(used));
    let forbidden: BTreeSet<_> = (uses(&files).into_iter())
        .filter(|(user, used, _)| !allows(user, used))
        .map(|(user, used, place)| format!("{place}: `{user}` must not use `{used}`"))
        .collect();
    assert!(forbidden.is_empty(), "{PAGE} forbids:\n{}", Vec::from_iter(forbidden).join("\n"));
}

#[test]
fn the_table_names_each_layer_and_no_other() {
    let (table, files) = (table(), source_files());
    let named: BTreeSet<_> = table.keys().chain(table.values().flatten()).map(String::as_str).collect();
    let (layers, rows) = (layers(&files), table.keys().map(String::as_str).collect::<BTreeSet<_>>());
    let without_row: Vec<_> = layers.difference(&rows).collect();
    assert!(without_row.is_empty(), "{PAGE} has no row for these modules of src/: {without_row:?}");
    let unknown: Vec<_> = named.difference(&layers).collect();
    assert!(unknown.is_empty(), "{PAGE} names modules that src/ does not have: {unknown:?}");
}

#[test]
fn the_table_allows_nothing_that_is_not_used() {
    let (table, files) = (table(), source_files());
    let used: BTreeSet<_> = uses(&files).into_iter().map(|(user, used, _)| (user.to_owned(), used)).collect();
    let allowed = table.iter().flat_map(|(user, allowed)| allowed.iter().map(|used| (user.clone(), used.clone())));
    let idle: Vec<_> =
        allowed.filter(|pair| !used.contains(pair)).map(|(user, used)| format!("{user} → {used}")).collect();
    assert!(idle.is_empty(), "{PAGE} allows what no file does: {idle:?}");
}

#[test]
fn layers_do_not_use_each_other_in_a_circle() {
    let mut table = table();
    // A layer that uses nothing that is left is in no circle.
    while let Some(bottom) = table.iter().find(|(_, uses)| uses.is_empty()).map(|(name, _)| name.clone()) {
        table.remove(&bottom);
        table.values_mut().for_each(|uses| _ = uses.remove(&bottom));
    }
    assert!(table.is_empty(), "these layers of {PAGE} use each other in a circle: {:?}", table.keys());
}
