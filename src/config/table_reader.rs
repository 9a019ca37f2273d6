//! Reads the tables of a document key by key, and reports unknown keys, missing keys and bad values.

use super::{
    document::{Node, NodeValue},
    problem::{Problems, shortened},
    setting::{SETTINGS, Setting},
    suggestion::nearest,
};

/// A table of a document, and its path from the root.
pub(super) struct TableReader<'a> {
    path: String,
    line: Option<usize>,
    entries: &'a [(String, Node)],
}

impl<'a> TableReader<'a> {
    /// Opens the table at a path and reports every key that is not among `known`. The path of the root is empty.
    ///
    /// Returns `None` if the value is not a table.
    pub(super) fn open(path: &str, node: &'a Node, known: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let NodeValue::Table(entries) = &node.value else {
            problems.add(path, node.line, format!("must be a table, not {}", node.value.type_name()));
            return None;
        };
        let table = Self { path: path.to_owned(), line: node.line, entries };
        for (key, value) in entries {
            if !known.contains(&key.as_str()) {
                let advice = table.advice(key, known);
                problems.add(&table.path_of(&shortened(key)), value.line, format!("unknown key; {advice}"));
            }
        }
        Some(table)
    }

    /// Returns the value of a key, if the table has the key.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Returns all keys and values.
    pub(super) fn entries(&self) -> &'a [(String, Node)] {
        self.entries
    }

    /// Returns the path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns the line on which the table begins.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// Reads an optional value. Returns `None` if it is absent or not valid; the latter is reported.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.get(key)?;
        read(node).map_err(|message| problems.add(&self.path_of(key), node.line, message)).ok()
    }

    /// Reads a required value. Returns `None`, and reports it, if the value is absent or not valid.
    pub(super) fn required<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            problems.add(&self.path_of(key), self.line, "is missing");
        }
        self.optional(key, problems, read)
    }

    /// Returns the items of a list of tables, each with its path; none if the list is absent.
    pub(super) fn tables(&self, key: &str, problems: &mut Problems) -> Vec<(String, &'a Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let NodeValue::List(items) = &node.value else {
            problems.add(&path, node.line, format!("must be a list of tables, each under [[{path}]]"));
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
    }

    fn advice(&self, key: &str, known: &[&'static str]) -> String {
        if let Some(near) = nearest(key, known.iter().copied()) {
            return format!("did you mean {near}?");
        }
        // In TOML, every key below a table's header belongs to that table.
        if !self.path.is_empty() && Setting::by_key(key).is_some() {
            return format!("{key} is a setting: move it above the first [table] of the file");
        }
        if self.path.is_empty() {
            let settings: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
            return format!("the settings are {}", settings.join(", "));
        }
        format!("the keys here are {}", known.join(", "))
    }
}

/// Reads a string.
pub(super) fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        NodeValue::Text(text) => Ok(text.clone()),
        other => Err(format!("must be a quoted string, not {}", other.type_name())),
    }
}

/// Reads `true` or `false`.
pub(super) fn switch(node: &Node) -> Result<bool, String> {
    match &node.value {
        NodeValue::Switch(on) => Ok(*on),
        other => Err(format!("must be true or false, not {}", other.type_name())),
    }
}

/// Returns a function that reads a number within a range.
pub(super) fn number(range: std::ops::RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, String> {
    move |node| match &node.value {
        NodeValue::Number(number) if range.contains(number) => Ok(*number),
        NodeValue::Number(_) => Err(format!("must be {} to {}", range.start(), range.end())),
        other => Err(format!("must be a number from {} to {}, not {}", range.start(), range.end(), other.type_name())),
    }
}

/// Returns a function that reads a list, and each of its items with `read`.
pub(super) fn list<T>(read: impl Fn(&Node) -> Result<T, String>) -> impl Fn(&Node) -> Result<Vec<T>, String> {
    move |node| match &node.value {
        NodeValue::List(items) => items.iter().map(&read).collect(),
        other => Err(format!("must be a list, not {}", other.type_name())),
    }
}
