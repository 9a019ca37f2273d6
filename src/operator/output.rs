//! Standard output: text, JSON and tables. Colours are for terminals, and never where NO_COLOR is set or JSON was asked for.

use std::{borrow::Cow, io::Write as _};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::{StyledObject, Term};
use indicatif::HumanCount;
use serde::Serialize;

use super::{bar::is_bar, failure::Stop};

/// How wide text is made where nobody says how wide a line may be.
const WIDTH_ELSEWHERE: usize = 80;

/// How the answer is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputArguments {
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Of text.
    Text(&'static str),
    /// Of numbers.
    Number(&'static str),
}

/// Prints text as it is.
pub(super) fn print(text: &str) -> Result<(), Stop> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

/// Prints a value for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Stop> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// An empty table, no wider than the terminal.
pub(super) fn table(columns: &[Column]) -> Table {
    let mut table = Table::new();
    let names = columns.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    });
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(names);
    for (place, column) in columns.iter().enumerate() {
        if let (Column::Number(_), Some(shown)) = (column, table.column_mut(place)) {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    table
}

/// A table as text. Its bars get their colour here: within the table, the colour would count as width.
pub(super) fn drawn(table: &Table) -> String {
    let text = table.to_string();
    if !console::colors_enabled() {
        return text + "\n";
    }
    let mut coloured = String::with_capacity(text.len());
    let mut bar = String::new();
    for character in text.chars() {
        if is_bar(character) {
            bar.push(character);
            continue;
        }
        if !bar.is_empty() {
            coloured.push_str(&styled(std::mem::take(&mut bar)).cyan().to_string());
        }
        coloured.push(character);
    }
    coloured + "\n"
}

/// Text to which a style can be given, which shows on terminals only.
pub(super) fn styled<'a>(text: impl Into<Cow<'a, str>>) -> StyledObject<Cow<'a, str>> {
    console::style(text.into())
}

/// A number with separators.
pub(super) fn count(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", HumanCount(number.unsigned_abs()))
}

/// A number of things: `1 team`, `2,000 teams`.
pub(super) fn counted(number: i64, thing: &str, things: &str) -> String {
    format!("{} {}", count(number), if number == 1 { thing } else { things })
}

/// How many characters a line should have at most.
pub(super) fn width() -> usize {
    terminal_width().map_or(WIDTH_ELSEWHERE, usize::from)
}

fn terminal_width() -> Option<u16> {
    let terminal = Term::stdout();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| columns)
}
