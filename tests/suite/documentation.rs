//! The pages of the repository: their links lead somewhere, they stay short, they name tests and code that exist, and their
//! examples print what they show.

mod examples;
mod limits;
mod links;
mod measured;
mod named;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path from the root.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// All files below a folder with this extension, as paths from the root.
fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every page that people read, as paths from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"]
        .into_iter()
        .chain(["fuzz/README.md", "tests/data/README.md"])
        .map(PathBuf::from)
        .filter(|page| root().join(page).exists())
        .collect();
    pages.extend(["docs", "helm"].iter().flat_map(|folder| files_below(folder, "md")));
    if root().join("examples").exists() {
        pages.extend(files_below("examples", "md"));
    }
    pages
}

/// The lines of a page outside of fenced blocks, each with its number, counted from 1.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            lines.push((number, line));
        }
    }
    lines
}

/// The cells of a row of a table; `None` if the line is no row. A bar behind a backslash is part of its cell.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let row = row.replace("\\|", "\u{0}");
    Some(row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect())
}

/// The pieces of a text that are marked as code.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn cells_and_code_spans_are_found() {
    assert_eq!(cells("| a | `b\\|c` | |").unwrap(), ["a", "`b|c`", ""]);
    assert_eq!(cells("no row"), None);
    assert_eq!(code_spans("`a`, b and `c`"), ["a", "c"]);
    assert_eq!(prose("a\n```\nb\n```\nc"), [(1, "a"), (5, "c")]);
}
