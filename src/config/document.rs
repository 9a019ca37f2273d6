//! Parses TOML or JSON into a tree whose values remember their line numbers. It knows no setting.

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Problems};

/// Syntax of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentFormat {
    /// TOML 1.0.
    Toml,
    /// JSON.
    Json,
}

/// A value and its place in the document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Line number, counted from 1. `None` for JSON and for the root.
    pub(super) line: Option<usize>,
    pub(super) value: NodeValue,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeValue {
    /// A string, or a TOML time written without quotes.
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<Node>),
    /// Keys and values in the order of the document.
    Table(Vec<(String, Node)>),
    /// A value of a type that no key accepts, by the name of the type.
    Other(&'static str),
}

impl NodeValue {
    /// Returns the name of the value's type for error messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// Parses a document. `source` is its name in error messages, which never quote the text: it may hold a password.
pub(super) fn parse(text: &str, format: DocumentFormat, source: &str) -> Result<Node, ConfigError> {
    match format {
        DocumentFormat::Toml => parse_toml(text, source),
        DocumentFormat::Json => parse_json(text, source),
    }
}

fn parse_toml(text: &str, source: &str) -> Result<Node, ConfigError> {
    let lines = LineStarts::of(text);
    DeTable::parse(text).map(|root| table(root.get_ref(), &lines, None)).map_err(|error| {
        let mut problems = Problems::of(source);
        let line = error.span().map(|span| lines.line_of(span.start));
        // The message names what the parser expected. Only the snippet, which is left out here, quotes the text.
        problems.add("", line, format!("invalid TOML: {}", error.message()));
        problems.error()
    })
}

fn parse_json(text: &str, source: &str) -> Result<Node, ConfigError> {
    serde_json::from_str(text).map(json).map_err(|error| {
        let mut problems = Problems::of(source);
        problems.add("", Some(error.line()), format!("invalid JSON at column {}", error.column()));
        problems.error()
    })
}

fn table(entries: &DeTable<'_>, lines: &LineStarts, line: Option<usize>) -> Node {
    let mut located: Vec<_> = entries.iter().map(|(key, value)| (key.span().start, key, value)).collect();
    located.sort_by_key(|(offset, ..)| *offset);
    let entries = located
        .into_iter()
        .map(|(offset, key, value)| (key.get_ref().to_string(), node(value.get_ref(), lines, lines.line_of(offset))));
    Node { line, value: NodeValue::Table(entries.collect()) }
}

fn node(value: &DeValue<'_>, lines: &LineStarts, line: usize) -> Node {
    let value = match value {
        DeValue::String(text) => NodeValue::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(NodeValue::Other("a number that is too large"), NodeValue::Number),
        DeValue::Boolean(on) => NodeValue::Switch(*on),
        DeValue::Datetime(time) => NodeValue::Text(time.to_string()),
        DeValue::Float(_) => NodeValue::Other("a number with a fraction"),
        DeValue::Array(items) => NodeValue::List(
            items.iter().map(|item| node(item.get_ref(), lines, lines.line_of(item.span().start))).collect(),
        ),
        DeValue::Table(entries) => return table(entries, lines, Some(line)),
    };
    Node { line: Some(line), value }
}

fn json(value: serde_json::Value) -> Node {
    use serde_json::Value;
    let value = match value {
        Value::Null => NodeValue::Other("null"),
        Value::Bool(on) => NodeValue::Switch(on),
        Value::Number(number) => {
            number.as_i64().map_or(NodeValue::Other("a number that is too large or has a fraction"), NodeValue::Number)
        }
        Value::String(text) => NodeValue::Text(text),
        Value::Array(items) => NodeValue::List(items.into_iter().map(json).collect()),
        Value::Object(entries) => {
            NodeValue::Table(entries.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    };
    Node { line: None, value }
}

/// Byte offsets at which the lines of a text start.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        let later = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self(std::iter::once(0).chain(later).collect())
    }

    /// Returns the line number of a byte offset, counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_lines_and_their_order() {
        let text = "b = 1\n\na = \"x\"\n[[teams]]\nid = 2026-01-01T00:00:00Z\n[[teams]]\nid = 0x10\n";
        let root = parse(text, DocumentFormat::Toml, "").unwrap();
        let NodeValue::Table(entries) = root.value else { panic!("no table") };
        let lines: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.line)).collect();
        assert_eq!(lines, [("b", Some(1)), ("a", Some(3)), ("teams", Some(4))]);
        let NodeValue::List(teams) = &entries[2].1.value else { panic!("no list") };
        assert_eq!(teams.iter().map(|team| team.line).collect::<Vec<_>>(), [Some(4), Some(6)]);
        let id = Node { line: Some(7), value: NodeValue::Number(16) };
        assert_eq!(teams[1].value, NodeValue::Table(vec![("id".to_owned(), id)]));
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        for text in [
            "a = 1\nstore = \"redis://:secret@h\nb = 2",
            "a = 1\nstore = redis://:secret@h",
            "a = 1\nstore = 'secret",
            "a = 1\nstore secret",
            "a = 1\nsecret",
            "a = 1\nstore = \"\"\"secret",
            "a = 1\nstore = \"\\secret\"",
            "a = 1\nstore = \"x\" secret",
            "a = 1\n[secret\nb = 2",
            "a = 1\nstore = [\"secret\", secret]",
            "a = 1\nsecret = 1\nsecret = 2",
        ] {
            let error = parse(text, DocumentFormat::Toml, "tollgate.toml").unwrap_err().to_string();
            assert!(error.starts_with("tollgate.toml, line "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = parse("{\n \"store\": secret}", DocumentFormat::Json, "").unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{error}");
    }
}
