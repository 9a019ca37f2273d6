//! The flags: one for each setting, and `--config`.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::PathBufValueParser, error::ErrorKind};

use super::{
    layers::{Assignment, Layer},
    setting::{SETTINGS, Setting},
    variables::CONFIG_VARIABLE,
};

const CONFIG: &str = "config";

/// The settings that the command line names.
#[derive(Clone, Default)]
pub struct Flags {
    pub(super) config: Option<PathBuf>,
    values: BTreeMap<&'static str, String>,
}

/// The flags of a command that calls a running sidecar's admin listener: only `--admin` and `--config`.
#[derive(Clone, Debug, Default)]
pub struct AdminFlags(pub(super) Flags);

impl Flags {
    pub(super) fn layer(&self) -> Layer {
        let assignments = SETTINGS.iter().filter_map(|setting| {
            let text = self.values.get(setting.key)?.clone();
            Some(Assignment { setting, text, origin: format!("--{}", setting.flag()) })
        });
        Layer(assignments.collect())
    }
}

/// Omits the values: one of them may be a URL with a password.
impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Flags").field("config", &self.config).field("keys", &self.values.keys()).finish()
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command =
            SETTINGS.iter().fold(command.arg(config_argument()), |command, setting| command.arg(argument(setting)));
        command.next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Ok(Some(file)) = matches.try_get_one::<PathBuf>(CONFIG) {
            self.config = Some(file.clone());
        }
        for setting in SETTINGS {
            let Ok(Some(value)) = matches.try_get_one::<String>(setting.key) else { continue };
            // A value may begin with a hyphen, so that the message for `-5h` names the range. The next flag is not a value.
            if value.starts_with("--") {
                let flag = setting.flag();
                return Err(clap::Error::raw(ErrorKind::InvalidValue, format!("--{flag} needs a value\n")));
            }
            self.values.insert(setting.key, value.clone());
        }
        Ok(())
    }
}

impl Args for AdminFlags {
    fn augment_args(command: Command) -> Command {
        let admin = Setting::by_key("admin").map(argument);
        command.arg(config_argument()).args(admin)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AdminFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Flags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn config_argument() -> Arg {
    let help = format!("Configuration file [default: tollgate.toml, if it exists] [env: {CONFIG_VARIABLE}]");
    Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(PathBufValueParser::new()).help(help)
}

// clap neither reads the variable nor parses the value, because its messages quote values, which may hold a password.
fn argument(setting: &'static Setting) -> Arg {
    let Setting { key, value_name, default, help, heading, .. } = setting;
    let help = format!("{help} [{}] [default: {default}] [env: {}]", setting.values(), setting.variable());
    let argument = Arg::new(*key).long(setting.flag()).value_name(*value_name).help(help).help_heading(*heading);
    let argument = argument.action(ArgAction::Set).allow_hyphen_values(setting.is_number());
    if setting.is_switch() {
        argument.num_args(0..=1).default_missing_value("true").require_equals(true)
    } else {
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Result<Flags, clap::Error> {
        let command = Flags::augment_args(Command::new("tollgate"));
        let matches = command.try_get_matches_from(["tollgate"].iter().chain(arguments))?;
        Flags::from_arg_matches(&matches)
    }

    #[test]
    fn every_setting_has_a_flag() {
        for setting in SETTINGS {
            let flags = flags(&[&format!("--{}=-1", setting.flag())]).unwrap();
            let [found] = &flags.layer().0[..] else { panic!("{}", setting.key) };
            assert_eq!((found.setting.key, found.text.as_str()), (setting.key, "-1"));
            assert_eq!(found.origin, format!("--{}", setting.flag()));
        }
    }

    #[test]
    fn the_value_of_a_switch_is_optional() {
        for (argument, value) in [("--require-aof", "true"), ("--require-aof=false", "false")] {
            assert_eq!(flags(&[argument]).unwrap().values["require_aof"], value);
        }
    }

    #[test]
    fn a_value_may_be_negative_but_not_the_next_flag() {
        assert_eq!(flags(&["--run-max-age", "-5h"]).unwrap().values["run_max_age"], "-5h");
        let error = flags(&["--run-max-age", "--require-aof"]).unwrap_err();
        assert!(error.to_string().contains("--run-max-age needs a value"), "{error}");
    }

    #[test]
    fn debug_output_has_no_values() {
        let flags = flags(&["--store=redis://:secret@h"]).unwrap();
        assert!(!format!("{flags:?}").contains("secret"));
    }
}
