//! What an installation says of itself: defaults, below a file, below environment variables, below flags.
//!
//! This adapter knows files, the environment and the command line. What it makes of them is plain values: nothing else in the
//! crate knows where one came from. It must know no rule of the product, and touch no store.

mod clients;
mod document;
mod duration;
mod fields;
mod file;
mod flags;
mod layers;
mod log;
mod problem;
pub mod rate_card;
mod seed;
mod setting;
mod suggestion;
mod variables;

use std::path::{Path, PathBuf};

pub use self::{
    document::Format,
    file::{Contents, file_to_read, parse, without_url},
    flags::{AdminFlags, Flags},
    log::{Log, LogFormat},
    problem::{ConfigError, Problem},
    setting::{SETTINGS, Setting},
    variables::Variables,
};
use self::{layers::Layer, problem::Problems};
use crate::{
    domain::seed::Seed,
    serve::{Clients, ListenAddress, ListenError, ServeOptions},
};

/// What all settings together come to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to serve.
    pub serve: ServeOptions,
    /// What to log.
    pub log: Log,
}

impl Default for Settings {
    fn default() -> Self {
        Self { serve: ServeOptions { demo_teams: true, ..ServeOptions::default() }, log: Log::default() }
    }
}

/// What applies, and where it is from.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What all settings together come to. What the file seeds is among the options to serve with.
    pub settings: Settings,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Each setting, as it may be shown.
    pub shown: Vec<Shown>,
}

/// A setting's value, without a password, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The setting's key.
    #[serde(skip)]
    pub key: &'static str,
    /// Its value, as it was written.
    pub value: String,
    /// `default`, the file and the line, the variable, or the flag.
    pub from: String,
}

/// Reads what there is and puts it together. Relative paths start at `directory`.
///
/// # Errors
/// See [`ConfigError`].
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
        Ok(None) => (None, Contents::default()),
        Err(ConfigError::Invalid(found)) => {
            found.into_iter().for_each(|problem| problems.push(problem));
            (None, Contents::default())
        }
        Err(unreadable) => return Err(unreadable),
    };
    let merged = layers::merge(&[Layer::defaults(), fallback, contents.layer, from_variables, from_flags]);
    let settings = settle(&merged, contents.seed, contents.clients, &mut problems);
    let shown = merged.0.iter().map(|given| Shown {
        key: given.setting.key,
        value: given.setting.shown(&given.text),
        from: given.origin.clone(),
    });
    let configuration = Configuration { settings, file: path, shown: shown.collect() };
    problems.none_or(configuration)
}

/// The admin listener, as a command knows it that asks a running sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminListener {
    /// Where it is.
    pub address: ListenAddress,
    /// The file with the token that it wants.
    pub token_file: Option<PathBuf>,
}

/// The admin listener, for a command that asks a running sidecar. Whatever else is wrong is not this command's to say: it reads
/// the file only if neither the flag nor the variable tells where the listener is.
///
/// # Errors
/// If the address is none, or the file that has to be asked is of no use.
pub fn admin_listener(flags: &AdminFlags) -> Result<AdminListener, ConfigError> {
    admin_from(&flags.0, &Variables::of_process(), Path::new(""))
}

/// What a command that reads no file logs: as TOLLGATE_LOG, or else RUST_LOG, and TOLLGATE_LOG_FORMAT say.
///
/// # Errors
/// If they are of no use.
pub fn log_of_environment(variables: &Variables) -> Result<Log, ConfigError> {
    let mut problems = Problems::default();
    let mut settings = Settings::default();
    for layer in [variables.fallback(&mut problems), variables.layer(&mut problems)] {
        let given = layer.0.into_iter().filter(|given| given.setting.key.starts_with("log"));
        let layer = Layer(given.collect());
        layer.apply(&mut settings, &mut problems);
    }
    problems.none_or(settings.log)
}

fn admin_from(flags: &Flags, variables: &Variables, directory: &Path) -> Result<AdminListener, ConfigError> {
    let mut problems = Problems::default();
    let mut settings = Settings::default();
    let mut layers = vec![flags.layer(), variables.layer(&mut Problems::default())];
    if layers.iter().all(|layer| layer.find("admin").is_none())
        && let Some((_, contents, _)) = file::read(flags, variables, directory)?
    {
        layers.push(contents.layer);
    }
    layers.push(Layer::defaults());
    let said = |key: &str| layers.iter().find_map(|layer| layer.find(key)).cloned();
    let layer = Layer(["admin", "admin_token_file"].into_iter().filter_map(said).collect());
    layer.apply(&mut settings, &mut problems);
    let serve = settings.serve;
    problems.none_or(AdminListener { address: serve.admin, token_file: serve.access.admin_token_file })
}

/// Takes the values that apply, and checks what two of them make together.
fn settle(merged: &Layer, seed: Seed, clients: Option<Clients>, problems: &mut Problems) -> Settings {
    let mut settings = Settings::default();
    settings.serve.seed = seed;
    settings.serve.access.clients = clients;
    // Each layer was checked by itself, so that what is of no use was told already; only the fallback was not.
    let mut of_fallback = Problems::default();
    merged.apply(&mut settings, &mut of_fallback);
    problems.append(of_fallback);
    let serve = &settings.serve;
    let mut contradicts = |key: &str, sentence: String| {
        let origin = merged.find(key).map(|given| given.origin.clone()).unwrap_or_default();
        problems.push(Problem { key: key.to_owned(), origin, sentence });
    };
    let all = [("listen", Some(&serve.listen)), ("admin", Some(&serve.admin)), ("probe", serve.probe.as_ref())];
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let ((first, Some(taken)), (key, Some(address))) = (all[one], all[other]) else { continue };
        let any_port = matches!(taken, ListenAddress::Tcp { port: 0, .. });
        if !any_port && taken.as_seen_from_here() == address.as_seen_from_here() {
            contradicts(
                key,
                format!("must not be where {first} is, {taken}; choose another port or socket for one of them"),
            );
        }
    }
    if serve.admin.is_beyond_this_machine() && !serve.access.lets_admin_beyond_this_machine() {
        contradicts("admin", ListenError::BeyondThisMachine(serve.admin.clone()).to_string());
    }
    for (key, sentence) in serve.access.contradictions(&serve.listen, &serve.admin) {
        contradicts(key, sentence);
    }
    settings
}

#[cfg(test)]
mod tests;
