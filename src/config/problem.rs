//! Errors of a configuration. Each names the key, its place, what is wrong and what to do, and never quotes a URL.

use std::fmt;

use thiserror::Error;

use crate::exit_code::{self, CommandError};

/// Maximum number of problems that one error message lists.
const SHOWN_PROBLEMS: usize = 20;

/// Maximum length of a key or value that a message quotes, in characters.
const QUOTED_CHARACTERS: usize = 60;

/// Why a configuration could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file is missing or cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The configuration is not valid. It has all problems that could be found.
    #[error("{}", report(.0))]
    Invalid(Vec<Problem>),
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let code = match &error {
            ConfigError::Unreadable(_) => exit_code::NO_INPUT,
            ConfigError::Invalid(_) => exit_code::CONFIG,
        };
        Self::new(code, error)
    }
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Full path of the key. Empty if the problem is not about one key.
    pub key: String,
    /// Where the key is: the file and the line, the variable, or the flag. Empty if the user knows where.
    pub origin: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, message } = self;
        match (key.is_empty(), origin.is_empty()) {
            (true, true) => formatter.write_str(message),
            (true, false) => write!(formatter, "{origin}: {message}"),
            (false, true) => write!(formatter, "{key}: {message}"),
            (false, false) => write!(formatter, "{key} ({origin}): {message}"),
        }
    }
}

/// Collects the problems of one document or of all sources.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Name of the document. Empty if messages do not need it.
    source: String,
    found: Vec<Problem>,
}

impl Problems {
    /// Starts a collection for a document of this name.
    pub(super) fn of(source: &str) -> Self {
        Self { source: source.to_owned(), found: Vec::new() }
    }

    /// Returns the origin of a line of the document, such as `tollgate.toml, line 3`.
    pub(super) fn origin(&self, line: Option<usize>) -> String {
        match (self.source.is_empty(), line) {
            (_, None) => self.source.clone(),
            (true, Some(line)) => format!("line {line}"),
            (false, Some(line)) => format!("{}, line {line}", self.source),
        }
    }

    /// Adds a problem with a key on a line of the document.
    pub(super) fn add(&mut self, key: &str, line: Option<usize>, message: impl Into<String>) {
        let origin = self.origin(line);
        self.push(Problem { key: key.to_owned(), origin, message: message.into() });
    }

    /// Adds a problem, unless the same one was added before.
    pub(super) fn push(&mut self, problem: Problem) {
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Adds the problems of another collection.
    pub(super) fn append(&mut self, others: Self) {
        others.found.into_iter().for_each(|problem| self.push(problem));
    }

    /// Returns `value` if there is no problem, and otherwise the error.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() { Ok(value) } else { Err(ConfigError::Invalid(self.found)) }
    }

    /// Returns the error with all problems.
    pub(super) fn error(self) -> ConfigError {
        ConfigError::Invalid(self.found)
    }
}

/// Quotes a value for a message. A value that could be a URL may hold a password and is not quoted.
pub(super) fn quoted(value: &str) -> String {
    if value.contains("://") || value.contains('@') { "(hidden)".to_owned() } else { format!("`{}`", shortened(value)) }
}

/// Escapes a text so that it fits on one line, and cuts it off after [`QUOTED_CHARACTERS`].
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARACTERS).is_some() {
        short.push('…');
    }
    short
}

fn report(problems: &[Problem]) -> String {
    if let [problem] = problems {
        return problem.to_string();
    }
    let mut lines = vec![format!("{} problems:", problems.len())];
    lines.extend(problems.iter().take(SHOWN_PROBLEMS).map(|problem| format!("  {problem}")));
    if let Some(more) = problems.len().checked_sub(SHOWN_PROBLEMS).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str) -> Problem {
        Problem { key: key.to_owned(), origin: "here".to_owned(), message: "is wrong".to_owned() }
    }

    #[test]
    fn several_problems_are_a_list_with_a_limit() {
        assert_eq!(ConfigError::Invalid(vec![problem("a")]).to_string(), "a (here): is wrong");
        let two = ConfigError::Invalid(vec![problem("a"), problem("b")]).to_string();
        assert_eq!(two, "2 problems:\n  a (here): is wrong\n  b (here): is wrong");
        let many = ConfigError::Invalid(vec![problem("a"); 25]).to_string();
        assert!(many.lines().count() == 22 && many.ends_with("and 5 more"), "{many}");
    }

    #[test]
    fn a_quoted_value_is_short_and_is_not_a_url() {
        assert_eq!(quoted("5ms"), "`5ms`");
        assert_eq!(quoted("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\nb`");
        assert_eq!(quoted(&"x".repeat(500)), format!("`{}…`", "x".repeat(60)));
        for url in ["redis://:secret@h", "user:secret@h"] {
            assert_eq!(quoted(url), "(hidden)");
        }
    }
}
