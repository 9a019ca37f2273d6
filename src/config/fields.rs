//! Reading the tables of a document: which keys they have, which are missing, and what is wrong with each.

use super::{
    document::{Content, Node},
    problem::{Problems, short},
    setting::{SETTINGS, Setting},
    suggestion::nearest,
};

/// A table of a document, read key by key.
pub(super) struct Fields<'a> {
    path: String,
    line: Option<usize>,
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    /// Opens a table at a path, which is empty for the whole document, and refuses keys that it does not know.
    pub(super) fn open(path: &str, node: &'a Node, known: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let Content::Table(entries) = &node.content else {
            problems.add(path, node.line, format!("must be a table, and is {}", node.content.name()));
            return None;
        };
        let fields = Self { path: path.to_owned(), line: node.line, entries };
        for (key, value) in entries {
            if !known.contains(&key.as_str()) {
                let advice = fields.advice(key, known);
                problems.add(&fields.path_of(&short(key)), value.line, format!("there is no such key; {advice}"));
            }
        }
        Some(fields)
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Every key and its value.
    pub(super) fn entries(&self) -> &'a [(String, Node)] {
        self.entries
    }

    /// A key's path.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the table begins.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    /// Reads a value that may be absent.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.get(key)?;
        read(node).map_err(|sentence| problems.add(&self.path_of(key), node.line, sentence)).ok()
    }

    /// Reads a value that has to be there.
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

    /// The tables of a list, each with its path; none if the list is absent.
    pub(super) fn tables(&self, key: &str, problems: &mut Problems) -> Vec<(String, &'a Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Content::List(items) = &node.content else {
            problems.add(&path, node.line, format!("must be a list of tables, each under [[{path}]]"));
            return Vec::new();
        };
        items.iter().enumerate().map(|(place, item)| (format!("{path}[{place}]"), item)).collect()
    }

    fn advice(&self, key: &str, known: &[&'static str]) -> String {
        if let Some(near) = nearest(key, known.iter().copied()) {
            return format!("did you mean {near}?");
        }
        // In TOML, what stands below a table's name belongs to that table.
        if !self.path.is_empty() && Setting::of_key(key).is_some() {
            return format!("{key} is a setting: put it above the first [table] of the file");
        }
        if self.path.is_empty() {
            return format!(
                "the settings are {}",
                SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ")
            );
        }
        format!("the keys here are {}", known.join(", "))
    }
}

/// A text.
pub(super) fn text(node: &Node) -> Result<String, String> {
    match &node.content {
        Content::Text(text) => Ok(text.clone()),
        other => Err(format!("must be a text in quotes, and is {}", other.name())),
    }
}

/// True or false.
pub(super) fn switch(node: &Node) -> Result<bool, String> {
    match &node.content {
        Content::Switch(on) => Ok(*on),
        other => Err(format!("must be true or false, and is {}", other.name())),
    }
}

/// A number of a range.
pub(super) fn number(range: std::ops::RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, String> {
    move |node| match &node.content {
        Content::Number(number) if range.contains(number) => Ok(*number),
        Content::Number(_) => Err(format!("must be {} to {}", range.start(), range.end())),
        other => Err(format!("must be a number from {} to {}, and is {}", range.start(), range.end(), other.name())),
    }
}

/// A list, each item of which is read alike.
pub(super) fn list<T>(read: impl Fn(&Node) -> Result<T, String>) -> impl Fn(&Node) -> Result<Vec<T>, String> {
    move |node| match &node.content {
        Content::List(items) => items.iter().map(&read).collect(),
        other => Err(format!("must be a list, and is {}", other.name())),
    }
}
