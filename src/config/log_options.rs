//! Which events are logged, and in which format.

use std::str::FromStr;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Which events are logged, and in which format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A filter that tracing-subscriber accepts.
    pub filter: String,
    /// Format of a log line.
    pub format: LogFormat,
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Default for LogOptions {
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

/// Checks a log filter and returns it unchanged.
pub(super) fn filter(text: &str) -> Result<String, String> {
    // tracing-subscriber takes an unknown word for the name of a module, and would then silence all others.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let levels = text.split(',').all(|part| part.contains(['=', '[']) || is_level(part.trim()));
    match EnvFilter::try_new(text) {
        Ok(_) if levels => Ok(text.to_owned()),
        _ => Err("use a level (error, warn, info, debug, trace), or a level for each module, such as \
                  `tollgate=debug,info`"
            .to_owned()),
    }
}
