//! What a sidecar takes from its configuration while it runs: what is logged, and what a store is given that lacks it.
//!
//! It reads everything anew at SIGHUP, and when the file changes. What is refused changes nothing.

use std::{convert::Infallible, path::Path, time::Duration};

use tokio::{signal::unix::Signal, time::sleep};

use super::log::LogFilter;
use crate::{
    config::{self, Configuration, Flags, Variables},
    exit_code::CommandError,
    gate::Gate,
    watched_file::WatchedFile,
};

/// How long to wait before a store is given again what it could not be given.
const PLANT_AGAIN: Duration = Duration::from_secs(5);

/// Where a configuration is from, and what of it applies.
pub(super) struct Reload {
    flags: Flags,
    variables: Variables,
    file: WatchedFile,
    applied: Configuration,
    log: LogFilter,
}

impl Reload {
    /// Reads the configuration for the first time, and logs as it says.
    pub(super) fn begin(flags: Flags, variables: Variables) -> Result<Self, CommandError> {
        // Looked at before it is read, so that no change falls between the two.
        let file = WatchedFile::now(config::file_to_read(&flags, &variables));
        let applied = config::load(&flags, &variables, Path::new(""))?;
        let log = super::log::start(&applied.settings.log)?;
        Ok(Self { flags, variables, file, applied, log })
    }

    /// What applies.
    pub(super) fn applied(&self) -> &Configuration {
        &self.applied
    }

    /// Follows it for ever.
    pub(super) async fn follow(mut self, hang_up: &mut Signal, gate: &Gate) -> Infallible {
        let mut is_planted = true;
        loop {
            tokio::select! {
                _ = hang_up.recv() => is_planted &= !self.read("SIGHUP"),
                () = self.file.changed() => is_planted &= !self.read("the file has changed"),
                () = sleep(PLANT_AGAIN), if !is_planted => {}
            }
            if !is_planted {
                is_planted = self.plant(gate).await;
            }
        }
    }

    /// Reads it anew, and applies what can be; whether it is of use.
    fn read(&mut self, why: &'static str) -> bool {
        let read = match config::load(&self.flags, &self.variables, Path::new("")) {
            Ok(read) if read.file.is_none() && self.applied.file.is_some() => Err("the file is gone".to_owned()),
            Ok(read) => Ok(read),
            Err(error) => Err(error.to_string()),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("{why}, and is refused; what was read before stays: {error}");
                return false;
            }
        };
        let file = read.file.as_deref().map_or_else(|| "no file".to_owned(), config::without_url);
        let (log, teams) = (&read.settings.log.filter, read.settings.serve.seed.teams.len());
        self.log.set(log);
        tracing::info!(file, log, teams, "{why}: read anew");
        let differs = |(new, old): (&config::Shown, &config::Shown)| new.key != "log" && new.value != old.value;
        let shown = read.shown.iter().zip(&self.applied.shown);
        let later: Vec<_> = shown.filter(|pair| differs(*pair)).map(|(new, _)| new.key).collect();
        if !later.is_empty() {
            tracing::warn!("what is new of {} takes effect at the next start", later.join(", "));
        }
        // The rest is compared with what is in effect, not with what was read last.
        self.applied.settings.serve.seed = read.settings.serve.seed;
        self.applied.file = read.file;
        true
    }

    /// Gives the store what it lacks; whether that could be done.
    async fn plant(&self, gate: &Gate) -> bool {
        let planted = gate.plant(self.applied.settings.serve.seed.clone()).await;
        if let Err(error) = &planted {
            tracing::warn!(%error, "what the file has for the store could not be given to it yet");
        }
        planted.is_ok()
    }
}
