//! What is logged, and how it looks.

use std::str::FromStr;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// What is logged, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter that tracing-subscriber has accepted.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json".to_owned()),
        }
    }
}

/// Checks a filter.
pub(super) fn filter(text: &str) -> Result<String, String> {
    // A word that is no level would be taken for the name of a part, and everything else would be silent.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let levels = text.split(',').all(|part| part.contains(['=', '[']) || is_level(part.trim()));
    match EnvFilter::try_new(text) {
        Ok(_) if levels => Ok(text.to_owned()),
        _ => Err("write a level (error, warn, info, debug, trace), or one for each part, as in `tollgate=debug,info`"
            .to_owned()),
    }
}
