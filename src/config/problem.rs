//! What is wrong with a configuration: which key, where it stands, what is wrong and what to do. Never a store's URL.

use std::fmt;

use thiserror::Error;

/// So many problems are shown at once; whoever has more has one mistake that makes them all.
const SHOWN_PROBLEMS: usize = 20;

/// The longest part of a value or a key that is repeated, in characters.
const REPEATED_CHARACTERS: usize = 60;

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file is missing, or cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Something in it is wrong; all that could be found at once.
    #[error("{}", shown(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, by its whole path; empty if it is about no key.
    pub key: String,
    /// Where it stands: the file and the line, the variable, or the flag; empty if that goes without saying.
    pub origin: String,
    /// What is wrong with it, and what to do.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, sentence } = self;
        match (key.is_empty(), origin.is_empty()) {
            (true, true) => formatter.write_str(sentence),
            (true, false) => write!(formatter, "{origin}: {sentence}"),
            (false, true) => write!(formatter, "{key}: {sentence}"),
            (false, false) => write!(formatter, "{key} ({origin}): {sentence}"),
        }
    }
}

/// Collects what is wrong in one text, and names its places.
#[derive(Debug, Default)]
pub(super) struct Problems {
    source: String,
    found: Vec<Problem>,
}

impl Problems {
    /// Of the text of this name; it has none if nobody needs to be told which text it is.
    pub(super) fn of(source: &str) -> Self {
        Self { source: source.to_owned(), found: Vec::new() }
    }

    /// Where a line is.
    pub(super) fn place(&self, line: Option<usize>) -> String {
        match (self.source.is_empty(), line) {
            (_, None) => self.source.clone(),
            (true, Some(line)) => format!("line {line}"),
            (false, Some(line)) => format!("{}, line {line}", self.source),
        }
    }

    /// Something is wrong with a key on that line.
    pub(super) fn add(&mut self, key: &str, line: Option<usize>, sentence: impl Into<String>) {
        let origin = self.place(line);
        self.push(Problem { key: key.to_owned(), origin, sentence: sentence.into() });
    }

    /// Something is wrong; what was said already is not said again.
    pub(super) fn push(&mut self, problem: Problem) {
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Takes over what others found.
    pub(super) fn append(&mut self, others: Self) {
        others.found.into_iter().for_each(|problem| self.push(problem));
    }

    /// What goes on, if nothing is wrong.
    pub(super) fn none_or<T>(self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() { Ok(value) } else { Err(ConfigError::Invalid(self.found)) }
    }

    /// Everything that is wrong so far.
    pub(super) fn error(self) -> ConfigError {
        ConfigError::Invalid(self.found)
    }
}

/// A value as a problem repeats it. What could be a URL may hold a password, and is not repeated.
pub(super) fn repeated(value: &str) -> String {
    if value.contains("://") || value.contains('@') { "this value".to_owned() } else { format!("`{}`", short(value)) }
}

/// A text that somebody wrote, on one line, and not longer than helps.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(REPEATED_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(REPEATED_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

fn shown(problems: &[Problem]) -> String {
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
        Problem { key: key.to_owned(), origin: "here".to_owned(), sentence: "is wrong".to_owned() }
    }

    #[test]
    fn one_problem_is_a_sentence_and_several_are_a_list_that_ends() {
        assert_eq!(ConfigError::Invalid(vec![problem("a")]).to_string(), "a (here): is wrong");
        let two = ConfigError::Invalid(vec![problem("a"), problem("b")]).to_string();
        assert_eq!(two, "2 problems:\n  a (here): is wrong\n  b (here): is wrong");
        let many = ConfigError::Invalid(vec![problem("a"); 25]).to_string();
        assert!(many.lines().count() == 22 && many.ends_with("and 5 more"), "{many}");
    }

    #[test]
    fn what_is_repeated_is_short_and_no_url() {
        assert_eq!(repeated("5ms"), "`5ms`");
        assert_eq!(repeated("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\nb`");
        assert_eq!(repeated(&"x".repeat(500)), format!("`{}…`", "x".repeat(60)));
        for url in ["redis://:secret@h", "user:secret@h"] {
            assert_eq!(repeated(url), "this value");
        }
    }
}
