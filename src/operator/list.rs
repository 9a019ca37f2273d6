//! A list as it is printed: a table for people, or one JSON object. It never keeps more than a thousand rows, however many come.

use comfy_table::Table;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    failure::Stop,
    output::{Column, OutputArguments, drawn, print, table},
};

/// After so many rows a table is printed, and another one begun: how wide a column has to be is known only of rows that are kept.
const ROWS_KEPT: usize = 1_000;

/// A list in the making.
pub(super) enum List {
    /// For people.
    Table(Box<TableList>),
    /// For programs.
    Json(JsonList),
}

/// Rows of a table that are not printed yet.
pub(super) struct TableList {
    columns: &'static [Column],
    table: Table,
    kept: usize,
}

/// An object of which one field is the list.
pub(super) struct JsonList {
    text: String,
    kept: usize,
    any: bool,
}

impl List {
    /// An empty list; in JSON it is the field of this name.
    pub(super) fn new(format: OutputArguments, name: &str, columns: &'static [Column]) -> Self {
        if format.json {
            Self::Json(JsonList::new(name))
        } else {
            Self::Table(Box::new(TableList { columns, table: table(columns), kept: 0 }))
        }
    }

    /// Adds a row, given in both forms.
    pub(super) fn add(&mut self, json: &impl Serialize, cells: impl FnOnce() -> Vec<String>) -> Result<(), Stop> {
        match self {
            Self::Json(list) => list.add(json),
            Self::Table(list) => list.add(cells()),
        }
    }

    /// Prints what is left; then a sentence for people, or further fields for programs.
    pub(super) fn end(self, sentence: &str, fields: &Map<String, Value>) -> Result<(), Stop> {
        match self {
            Self::Json(list) => list.end(fields),
            Self::Table(list) => list.end(sentence),
        }
    }
}

impl TableList {
    fn add(&mut self, cells: Vec<String>) -> Result<(), Stop> {
        self.table.add_row(cells);
        self.kept += 1;
        if self.kept < ROWS_KEPT { Ok(()) } else { self.print() }
    }

    fn print(&mut self) -> Result<(), Stop> {
        self.kept = 0;
        print(&drawn(&std::mem::replace(&mut self.table, table(self.columns))))
    }

    fn end(mut self, sentence: &str) -> Result<(), Stop> {
        if self.kept > 0 {
            self.print()?;
        }
        print(&format!("{sentence}\n"))
    }
}

impl JsonList {
    /// An empty one; the list is the field of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { text: format!("{{\n  \"{name}\": ["), kept: 0, any: false }
    }

    /// Adds a row, on a line of its own.
    pub(super) fn add(&mut self, row: &impl Serialize) -> Result<(), Stop> {
        self.text.push_str(if self.any { ",\n    " } else { "\n    " });
        self.text.push_str(&serde_json::to_string(row)?);
        self.any = true;
        self.kept += 1;
        if self.kept < ROWS_KEPT {
            return Ok(());
        }
        self.kept = 0;
        print(&std::mem::take(&mut self.text))
    }

    /// Prints what is left, and further fields.
    pub(super) fn end(mut self, fields: &Map<String, Value>) -> Result<(), Stop> {
        self.text.push_str(if self.any { "\n  ]" } else { "]" });
        for (name, value) in fields {
            self.text.push_str(&format!(",\n  {}: {value}", Value::from(name.as_str())));
        }
        self.text.push_str("\n}\n");
        print(&self.text)
    }
}
