//! How long pages and cells may be.

use super::{cells, pages, prose, read};

/// Maximum number of lines of the README and of the page about the architecture.
const MAX_LINES: usize = 150;

/// Maximum number of characters in the cell of a table: about two lines.
const MAX_CELL: usize = 160;

/// The length of a cell as a reader sees it: without the targets of links.
fn shown_length(cell: &str) -> usize {
    let mut parts = cell.split("](");
    let first = parts.next().unwrap_or_default().chars().count();
    first + parts.map(|part| part.split_once(')').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

/// The cells of a page that are too long, with their lines.
fn long_cells(page: &str) -> Vec<(usize, String)> {
    let rows = prose(page).into_iter().filter_map(|(number, line)| Some((number, cells(line)?)));
    rows.flat_map(|(number, cells)| cells.into_iter().map(move |cell| (number, cell)))
        .filter(|(_, cell)| shown_length(cell) > MAX_CELL)
        .collect()
}

#[test]
fn the_readme_and_the_architecture_are_short() {
    for page in ["README.md", "docs/internals/architecture.md"] {
        let lines = read(page).lines().count();
        assert!(lines <= MAX_LINES, "{page} has {lines} lines; move something to another page");
    }
}

#[test]
fn a_cell_of_a_table_has_at_most_two_lines() {
    let mut problems = Vec::new();
    for page in pages() {
        for (number, cell) in long_cells(&read(&page)) {
            problems.push(format!("{}:{number}: make a paragraph of: {cell}", page.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_long_cell_is_found_and_a_long_link_is_not() {
    let (long, link) = ("x".repeat(MAX_CELL + 1), format!("[a]({}) b", "x".repeat(MAX_CELL)));
    assert_eq!(long_cells(&format!("| a |\n|---|\n| {long} |\n| {link} |")), [(3, long)]);
}
