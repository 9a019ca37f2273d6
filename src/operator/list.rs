//! Output of lists, as tables for people or as one JSON object. At most a thousand rows are in memory at a time.

use comfy_table::Table;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    error::Stop,
    output::{Column, OutputArguments, print, render_table, table},
};

/// Maximum number of rows in memory. A longer list is printed as several tables, because the width of a column depends on all
/// rows of its table.
const MAX_ROWS: usize = 1_000;

/// A list whose rows are added one by one.
pub(super) enum List {
    /// Tables for people.
    Table(Box<TableList>),
    /// JSON for programs.
    Json(JsonList),
}

/// The rows that are not printed yet.
pub(super) struct TableList {
    columns: &'static [Column],
    table: Table,
    rows: usize,
}

/// A JSON object with the list as one of its fields.
pub(super) struct JsonList {
    text: String,
    rows: usize,
    any: bool,
}

impl List {
    /// Creates an empty list. In JSON, the list is the field `name`.
    pub(super) fn new(output: OutputArguments, name: &str, columns: &'static [Column]) -> Self {
        if output.json {
            Self::Json(JsonList::new(name))
        } else {
            Self::Table(Box::new(TableList { columns, table: table(columns), rows: 0 }))
        }
    }

    /// Adds a row, which is given in both forms.
    pub(super) fn add(&mut self, json: &impl Serialize, cells: impl FnOnce() -> Vec<String>) -> Result<(), Stop> {
        match self {
            Self::Json(list) => list.add(json),
            Self::Table(list) => list.add(cells()),
        }
    }

    /// Prints the remaining rows, and then a summary for people or further JSON fields.
    pub(super) fn end(self, summary: &str, fields: &Map<String, Value>) -> Result<(), Stop> {
        match self {
            Self::Json(list) => list.end(fields),
            Self::Table(list) => list.end(summary),
        }
    }
}

impl TableList {
    fn add(&mut self, cells: Vec<String>) -> Result<(), Stop> {
        self.table.add_row(cells);
        self.rows += 1;
        if self.rows < MAX_ROWS { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> Result<(), Stop> {
        self.rows = 0;
        print(&render_table(&std::mem::replace(&mut self.table, table(self.columns))))
    }

    fn end(mut self, summary: &str) -> Result<(), Stop> {
        if self.rows > 0 {
            self.print()?;
        }
        print(&format!("{summary}\n"))
    }
}

impl JsonList {
    /// Creates an empty list, which is the field `name` of its object.
    pub(super) fn new(name: &str) -> Self {
        Self { text: format!("{{\n  \"{name}\": ["), rows: 0, any: false }
    }

    /// Adds a row, on its own line.
    pub(super) fn add(&mut self, row: &impl Serialize) -> Result<(), Stop> {
        self.text.push_str(if self.any { ",\n    " } else { "\n    " });
        self.text.push_str(&serde_json::to_string(row)?);
        self.any = true;
        self.rows += 1;
        if self.rows < MAX_ROWS {
            return Ok(());
        }
        self.rows = 0;
        print(&std::mem::take(&mut self.text))
    }

    /// Prints the remaining rows and further fields.
    pub(super) fn end(mut self, fields: &Map<String, Value>) -> Result<(), Stop> {
        self.text.push_str(if self.any { "\n  ]" } else { "]" });
        for (name, value) in fields {
            self.text.push_str(&format!(",\n  {}: {value}", Value::from(name.as_str())));
        }
        self.text.push_str("\n}\n");
        print(&self.text)
    }
}
