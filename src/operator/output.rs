//! Output on stdout: text, JSON and tables. Colours appear only on terminals, and never with NO_COLOR or in JSON.

use std::{borrow::Cow, io::Write as _};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::{StyledObject, Term};
use indicatif::HumanCount;
use serde::Serialize;

use super::{bar::is_bar, error::Stop};

/// Line width if stdout is not a terminal, in characters.
const DEFAULT_WIDTH: usize = 80;

/// The option for the output format.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// A column of text.
    Text(&'static str),
    /// A column of numbers, which are aligned to the right.
    Number(&'static str),
}

/// Prints text.
pub(super) fn print(text: &str) -> Result<(), Stop> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Stop> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Creates an empty table that is at most as wide as the terminal.
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

/// Renders a table as text. It colours the bars afterwards, because colour codes inside a table would count as width.
pub(super) fn render_table(table: &Table) -> String {
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

/// Returns text that can be styled. The style shows on terminals only.
pub(super) fn styled<'a>(text: impl Into<Cow<'a, str>>) -> StyledObject<Cow<'a, str>> {
    console::style(text.into())
}

/// Formats a number with thousands separators.
pub(super) fn format_number(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", HumanCount(number.unsigned_abs()))
}

/// Formats a number with its noun: `1 team`, `2,000 teams`.
pub(super) fn format_count(number: i64, thing: &str, things: &str) -> String {
    format!("{} {}", format_number(number), if number == 1 { thing } else { things })
}

/// Returns the maximum length of a line, in characters.
pub(super) fn width() -> usize {
    terminal_width().map_or(DEFAULT_WIDTH, usize::from)
}

fn terminal_width() -> Option<u16> {
    let terminal = Term::stdout();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| columns)
}
