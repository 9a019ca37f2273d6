//! Sets up the log on standard error. Its filter can be changed at run time.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::{
    config::{LogFormat, LogOptions},
    exit_code::{self, CommandError},
};

/// Handle that replaces the filter of the log.
pub(super) struct LogFilter(Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>);

impl LogFilter {
    /// Replaces the filter. The filter is one that the configuration has accepted.
    pub(super) fn set(&self, filter: &str) {
        if let Err(error) =
            EnvFilter::try_new(filter).map_err(anyhow::Error::from).and_then(|filter| Ok((self.0)(filter)?))
        {
            tracing::error!(%error, "changing the log filter failed");
        }
    }
}

/// Starts the log.
pub(super) fn start(log: &LogOptions) -> Result<LogFilter, CommandError> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| CommandError::new(exit_code::CONFIG, error))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    Ok(match log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            LogFilter(Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            lines.init();
            LogFilter(Box::new(move |filter| handle.reload(filter)))
        }
    })
}
