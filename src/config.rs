//! The configuration: built-in defaults, overridden by a file, then by environment variables, then by flags.
//!
//! [`load`] reads all sources, checks every value, and returns [`Settings`], plain values for the rest of the crate. Problems are
//! reported all at once, each with its file and line, variable or flag. The table of settings is in `setting/table.rs`.
//!
//! This module must know no rule of the product, and must not open a store.

mod clients;
mod document;
mod duration;
mod file;
mod flags;
mod layers;
mod log_options;
mod problem;
pub mod rate_card;
mod seed;
mod setting;
mod suggestion;
mod table_reader;
mod variables;

use std::path::{Path, PathBuf};

pub use self::{
    document::DocumentFormat,
    file::{FileContents, MAX_FILE_BYTES, file_path, parse, without_url},
    flags::{AdminFlags, Flags},
    log_options::{LogFormat, LogOptions},
    problem::{ConfigError, Problem},
    setting::{SETTINGS, Setting},
    variables::Variables,
};
use self::{
    layers::{Assignment, Layer},
    problem::Problems,
};
use crate::{
    address::ListenAddress,
    domain::seed::Seed,
    serve::{Clients, ListenError, ServeOptions},
};

/// The values of all settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options of the sidecar, including the seed of the file.
    pub serve: ServeOptions,
    /// Options of the log.
    pub log: LogOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self { serve: ServeOptions { demo_teams: true, ..ServeOptions::default() }, log: LogOptions::default() }
    }
}

/// A valid configuration, and where its values come from.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The values of all settings.
    pub settings: Settings,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Every setting for display, in the order of [`SETTINGS`].
    pub effective: Vec<EffectiveSetting>,
}

/// The value of a setting for display, without a password, and its source.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EffectiveSetting {
    /// Key of the setting.
    #[serde(skip)]
    pub key: &'static str,
    /// Value as the user wrote it.
    pub value: String,
    /// Source: `default`, the file and the line, the variable, or the flag.
    pub from: String,
}

/// Reads all sources and merges them. Relative paths start at `directory`.
///
/// # Errors
/// If the file cannot be read, or if any source is not valid; then the error has all problems.
pub fn load(flags: &Flags, variables: &Variables, directory: &Path) -> Result<Configuration, ConfigError> {
    let mut problems = Problems::default();
    variables.check_names(&mut problems);
    let (fallback, from_variables) = (variables.fallback(&mut problems), variables.layer(&mut problems));
    let from_flags = flags.layer();
    for layer in [&from_variables, &from_flags] {
        layer.check(&mut problems);
    }
    let (path, contents) = match file::read(flags, variables, directory) {
        Ok(Some((path, contents, found))) => {
            problems.append(found);
            (Some(path), contents)
        }
        Ok(None) => (None, FileContents::default()),
        Err(ConfigError::Invalid(found)) => {
            found.into_iter().for_each(|problem| problems.push(problem));
            (None, FileContents::default())
        }
        Err(unreadable) => return Err(unreadable),
    };
    let merged = layers::merge(&[Layer::defaults(), fallback, contents.layer, from_variables, from_flags]);
    let settings = resolve(&merged, contents.seed, contents.clients, &mut problems);
    let effective = merged.0.into_iter().map(|Assignment { setting, text, origin }| EffectiveSetting {
        key: setting.key,
        value: setting.redacted(&text),
        from: origin,
    });
    let configuration = Configuration { settings, file: path, effective: effective.collect() };
    problems.into_result(configuration)
}

/// Where a command finds the admin listener of a running sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminListener {
    /// Address of the listener.
    pub address: ListenAddress,
    /// File with the token that the listener requires, if it requires one.
    pub token_file: Option<PathBuf>,
}

/// Returns where a command finds the admin listener of a running sidecar.
///
/// It reads the file only if neither the flag nor the variable has the address, and ignores problems of other settings: a command
/// must work although the sidecar's configuration has a mistake.
///
/// # Errors
/// If the address is not valid, or if the file is needed and cannot be parsed.
pub fn admin_listener(flags: &AdminFlags) -> Result<AdminListener, ConfigError> {
    admin_from(&flags.0, &Variables::from_process(), Path::new(""))
}

/// Returns the log options of a command that reads no file, from TOLLGATE_LOG, RUST_LOG and TOLLGATE_LOG_FORMAT.
///
/// # Errors
/// If one of them is not valid.
pub fn log_from_environment(variables: &Variables) -> Result<LogOptions, ConfigError> {
    let mut problems = Problems::default();
    let mut settings = Settings::default();
    for layer in [variables.fallback(&mut problems), variables.layer(&mut problems)] {
        let of_log = layer.0.into_iter().filter(|assignment| assignment.setting.key.starts_with("log"));
        Layer(of_log.collect()).apply(&mut settings, &mut problems);
    }
    problems.into_result(settings.log)
}

fn admin_from(flags: &Flags, variables: &Variables, directory: &Path) -> Result<AdminListener, ConfigError> {
    let (from_variables, from_flags) = (variables.layer(&mut Problems::default()), flags.layer());
    let from_file = match from_flags.find("admin").or(from_variables.find("admin")) {
        Some(_) => Layer::default(),
        None => file::read(flags, variables, directory)?.map(|(_, contents, _)| contents.layer).unwrap_or_default(),
    };
    let mut merged = layers::merge(&[Layer::defaults(), from_file, from_variables, from_flags]);
    merged.0.retain(|assignment| ["admin", "admin_token_file"].contains(&assignment.setting.key));
    let (mut problems, mut settings) = (Problems::default(), Settings::default());
    merged.apply(&mut settings, &mut problems);
    let serve = settings.serve;
    problems.into_result(AdminListener { address: serve.admin, token_file: serve.access.admin_token_file })
}

/// Parses the merged values, and checks settings that depend on each other.
fn resolve(merged: &Layer, seed: Seed, clients: Option<Clients>, problems: &mut Problems) -> Settings {
    let mut settings = Settings::default();
    settings.serve.seed = seed;
    settings.serve.access.clients = clients;
    // Every layer but the fallback was checked before. A problem that is found again is added once.
    merged.apply(&mut settings, problems);
    let serve = &settings.serve;
    let mut contradicts = |key: &str, message: String| {
        let origin = merged.find(key).map(|assignment| assignment.origin.clone()).unwrap_or_default();
        problems.push(Problem { key: key.to_owned(), origin, message });
    };
    let all = [("listen", Some(&serve.listen)), ("admin", Some(&serve.admin)), ("probe", serve.probe.as_ref())];
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let ((first, Some(taken)), (key, Some(address))) = (all[one], all[other]) else { continue };
        let any_port = matches!(taken, ListenAddress::Tcp { port: 0, .. });
        if !any_port && taken.as_seen_from_here() == address.as_seen_from_here() {
            contradicts(key, format!("must not be the address of {first}, {taken}; choose another port or socket"));
        }
    }
    if serve.admin.is_beyond_this_machine() && !serve.access.lets_admin_beyond_this_machine() {
        contradicts("admin", ListenError::BeyondThisMachine(serve.admin.clone()).to_string());
    }
    for (key, message) in serve.access.contradictions(&serve.listen, &serve.admin) {
        contradicts(key, message);
    }
    settings
}

#[cfg(test)]
mod tests;
