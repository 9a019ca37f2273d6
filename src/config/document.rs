//! A text of TOML or JSON as a tree that remembers its lines. It knows no key.

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Problems};

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// JSON.
    Json,
}

/// A value, and the line that it is on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A text, or a moment that is written without quotes.
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<Node>),
    /// In the order of the text.
    Table(Vec<(String, Node)>),
    /// Something that no key may be, by what it is called.
    Other(&'static str),
}

impl Content {
    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// Reads a text of this name. What is wrong with it is told without repeating it: it may hold a password.
pub(super) fn parse(text: &str, format: Format, source: &str) -> Result<Node, ConfigError> {
    match format {
        Format::Toml => parse_toml(text, source),
        Format::Json => parse_json(text, source),
    }
}

fn parse_toml(text: &str, source: &str) -> Result<Node, ConfigError> {
    let lines = Lines::of(text);
    DeTable::parse(text).map(|root| table(root.get_ref(), &lines, None)).map_err(|error| {
        let mut problems = Problems::of(source);
        let line = error.span().map(|span| lines.of_byte(span.start));
        // The parser's message names what it expected. What it found stands in the snippet that is left out here.
        problems.add("", line, format!("this is not TOML: {}", error.message()));
        problems.error()
    })
}

fn parse_json(text: &str, source: &str) -> Result<Node, ConfigError> {
    serde_json::from_str(text).map(json).map_err(|error| {
        let mut problems = Problems::of(source);
        problems.add("", Some(error.line()), format!("this is not JSON (column {})", error.column()));
        problems.error()
    })
}

fn table(entries: &DeTable<'_>, lines: &Lines, line: Option<usize>) -> Node {
    let mut placed: Vec<_> = entries.iter().map(|(key, value)| (key.span().start, key, value)).collect();
    placed.sort_by_key(|(place, ..)| *place);
    let entries = placed
        .into_iter()
        .map(|(place, key, value)| (key.get_ref().to_string(), node(value.get_ref(), lines, lines.of_byte(place))));
    Node { line, content: Content::Table(entries.collect()) }
}

fn node(value: &DeValue<'_>, lines: &Lines, line: usize) -> Node {
    let content = match value {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Content::Other("a number that is too large"), Content::Number),
        DeValue::Boolean(on) => Content::Switch(*on),
        DeValue::Datetime(moment) => Content::Text(moment.to_string()),
        DeValue::Float(_) => Content::Other("a number with a fraction"),
        DeValue::Array(items) => Content::List(
            items.iter().map(|item| node(item.get_ref(), lines, lines.of_byte(item.span().start))).collect(),
        ),
        DeValue::Table(entries) => return table(entries, lines, Some(line)),
    };
    Node { line: Some(line), content }
}

fn json(value: serde_json::Value) -> Node {
    use serde_json::Value;
    let content = match value {
        Value::Null => Content::Other("null"),
        Value::Bool(on) => Content::Switch(on),
        Value::Number(number) => {
            number.as_i64().map_or(Content::Other("a number that is too large or has a fraction"), Content::Number)
        }
        Value::String(text) => Content::Text(text),
        Value::Array(items) => Content::List(items.into_iter().map(json).collect()),
        Value::Object(entries) => Content::Table(entries.into_iter().map(|(key, value)| (key, json(value))).collect()),
    };
    Node { line: None, content }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let later = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1);
        Self(std::iter::once(0).chain(later).collect())
    }

    /// Counted from 1.
    fn of_byte(&self, place: usize) -> usize {
        self.0.partition_point(|begin| *begin <= place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_on_their_lines_in_the_order_of_the_text() {
        let text = "b = 1\n\na = \"x\"\n[[teams]]\nid = 2026-01-01T00:00:00Z\n[[teams]]\nid = 0x10\n";
        let root = parse(text, Format::Toml, "").unwrap();
        let Content::Table(entries) = root.content else { panic!("no table") };
        let lines: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.line)).collect();
        assert_eq!(lines, [("b", Some(1)), ("a", Some(3)), ("teams", Some(4))]);
        let Content::List(teams) = &entries[2].1.content else { panic!("no list") };
        assert_eq!(teams.iter().map(|team| team.line).collect::<Vec<_>>(), [Some(4), Some(6)]);
        let id = Node { line: Some(7), content: Content::Number(16) };
        assert_eq!(teams[1].content, Content::Table(vec![("id".to_owned(), id)]));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line_and_never_repeated() {
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
            let error = parse(text, Format::Toml, "tollgate.toml").unwrap_err().to_string();
            assert!(error.starts_with("tollgate.toml, line "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = parse("{\n \"store\": secret}", Format::Json, "").unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{error}");
    }
}
