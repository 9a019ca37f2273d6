//! The configuration of a running sidecar.
//!
//! It is read again on SIGHUP and when the file changes. Two things take effect without a restart: the log filter, and the seed,
//! which goes to the store if the store does not have it. If the new configuration is not valid, nothing changes.

use std::{convert::Infallible, path::Path, time::Duration};

use tokio::{signal::unix::Signal, time::sleep};

use super::log::LogFilter;
use crate::{
    config::{self, Configuration, EffectiveSetting, Flags, Variables},
    exit_code::CommandError,
    gate::Gate,
    watched_files::WatchedFiles,
};

/// How long to wait before the seed is applied again after the store did not take it.
const SEED_RETRY: Duration = Duration::from_secs(5);

/// The configuration of a running sidecar, and its sources.
pub(super) struct LiveConfiguration {
    flags: Flags,
    variables: Variables,
    file: WatchedFiles,
    current: Configuration,
    log: LogFilter,
}

impl LiveConfiguration {
    /// Reads the configuration for the first time and starts the log.
    pub(super) fn load(flags: Flags, variables: Variables) -> Result<Self, CommandError> {
        // Watched before it is read, so that a change between the two is noticed.
        let file = WatchedFiles::open(vec![config::file_path(&flags, &variables)], config::MAX_FILE_BYTES);
        let current = config::load(&flags, &variables, Path::new(""))?;
        let log = super::log::start(&current.settings.log)?;
        Ok(Self { flags, variables, file, current, log })
    }

    /// Returns the current configuration.
    pub(super) fn current(&self) -> &Configuration {
        &self.current
    }

    /// Reloads the configuration whenever it may have changed. Never returns.
    pub(super) async fn keep_current(mut self, hang_up: &mut Signal, gate: &Gate) -> Infallible {
        let mut is_seeded = true;
        loop {
            tokio::select! {
                _ = hang_up.recv() => is_seeded &= !self.reload("SIGHUP"),
                _ = self.file.changed() => is_seeded &= !self.reload("file change"),
                () = sleep(SEED_RETRY), if !is_seeded => {}
            }
            if !is_seeded {
                is_seeded = self.apply_seed(gate).await;
            }
        }
    }

    /// Reads the configuration again, and applies the log filter. Returns whether the configuration is valid.
    fn reload(&mut self, cause: &'static str) -> bool {
        let loaded = match config::load(&self.flags, &self.variables, Path::new("")) {
            Ok(loaded) if loaded.file.is_none() && self.current.file.is_some() => Err("the file is gone".to_owned()),
            Ok(loaded) => Ok(loaded),
            Err(error) => Err(error.to_string()),
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(cause, %error, "reloading the configuration failed; keeping the previous version");
                return false;
            }
        };
        let file = loaded.file.as_deref().map_or_else(|| "none".to_owned(), config::without_url);
        let (log, teams) = (&loaded.settings.log.filter, loaded.settings.serve.seed.teams.len());
        self.log.set(log);
        tracing::info!(cause, file, log, teams, "configuration reloaded");
        let differs = |(new, old): (&EffectiveSetting, &EffectiveSetting)| new.key != "log" && new.value != old.value;
        let pairs = loaded.effective.iter().zip(&self.current.effective);
        let changed: Vec<_> = pairs.filter(|pair| differs(*pair)).map(|(new, _)| new.key).collect();
        if !changed.is_empty() {
            tracing::warn!(settings = changed.join(", "), "changed settings take effect at the next start");
        }
        // The other settings stay those of the start, so that the next reload is compared with what is in effect.
        self.current.settings.serve.seed = loaded.settings.serve.seed;
        self.current.file = loaded.file;
        true
    }

    /// Writes the parts of the seed that the store does not have. Returns whether the store took them.
    async fn apply_seed(&self, gate: &Gate) -> bool {
        let applied = gate.apply_seed(self.current.settings.serve.seed.clone()).await;
        if let Err(error) = &applied {
            tracing::warn!(%error, "applying the seed to the store failed; trying again");
        }
        applied.is_ok()
    }
}
