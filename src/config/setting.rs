//! What a setting is. Flags, variables, keys of the file, help and ranges are all derived from the table of settings.

mod table;

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr};

pub use self::table::SETTINGS;
use super::{Settings, duration, log_options, problem::quoted};
use crate::{
    address::{InvalidListenAddress, ListenAddress},
    escrow::EscrowMode,
    store::{LocationError, StoreLocation},
};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Name in the file.
    pub key: &'static str,
    /// Placeholder for a value in `--help`.
    pub value_name: &'static str,
    /// Default value, as a user would write it.
    pub default: &'static str,
    /// One or two sentences: what it sets, and what more or less of it does.
    pub help: &'static str,
    /// Heading above it in `--help`.
    pub heading: &'static str,
    pub(super) value_type: ValueType,
}

/// Type of a setting's value, with a function that stores a value in [`Settings`].
pub(super) enum ValueType {
    Address(fn(&mut Settings, ListenAddress)),
    /// A TCP address. `off` is `None`.
    OptionalPort(fn(&mut Settings, Option<ListenAddress>)),
    /// A plaintext URL without a password. `off` is `None`.
    Collector(fn(&mut Settings, Option<String>)),
    /// A path. `none` is `None`.
    File(fn(&mut Settings, Option<PathBuf>)),
    Store,
    Switch(fn(&mut Settings, bool)),
    Milliseconds(RangeInclusive<i64>, fn(&mut Settings, i64)),
    Number(RangeInclusive<u32>, fn(&mut Settings, u32)),
    /// A number of credits. `unlimited` is `None`.
    OptionalCredits(RangeInclusive<i64>, fn(&mut Settings, Option<i64>)),
    Credits(RangeInclusive<i64>, fn(&mut Settings, i64)),
    Escrow,
    LogFilter,
    LogFormat,
}

impl fmt::Debug for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.description())
    }
}

impl Setting {
    /// Returns the setting with this key.
    pub fn by_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Returns its flag, without the leading hyphens.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Returns the name of its environment variable.
    pub fn variable(&self) -> String {
        format!("TOLLGATE_{}", self.key.to_uppercase())
    }

    /// Describes the valid values, such as `1 to 65536`.
    pub fn values(&self) -> String {
        self.value_type.description()
    }

    /// Returns whether its flag has an optional value, which is `true` if absent.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.value_type, ValueType::Switch(_))
    }

    /// Returns whether its flag accepts a value that begins with a hyphen, so that the error message can name the range.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self.value_type,
            ValueType::Milliseconds(..)
                | ValueType::Number(..)
                | ValueType::OptionalCredits(..)
                | ValueType::Credits(..)
        )
    }

    /// Returns a value for display, without a password.
    pub(super) fn redacted(&self, text: &str) -> String {
        match self.value_type {
            ValueType::Store => {
                text.parse().map_or_else(|_| "(hidden)".to_owned(), |store: StoreLocation| store.to_string())
            }
            // A text that is not a valid URL may still hold a password.
            ValueType::Collector(_) if text != "off" && !is_collector(text) => "(hidden)".to_owned(),
            _ => text.to_owned(),
        }
    }

    /// Parses a value and stores it in `settings`. The error says what a valid value is.
    pub(super) fn apply(&self, text: &str, settings: &mut Settings) -> Result<(), String> {
        // The messages about a store or collector do not quote the text, which may hold a password.
        let invalid = |problem: String| format!("invalid value {}: {problem}", quoted(text));
        match &self.value_type {
            ValueType::Address(set) => {
                set(settings, text.parse().map_err(|problem: InvalidListenAddress| invalid(problem.to_string()))?);
            }
            ValueType::OptionalPort(set) => match text {
                "off" => set(settings, None),
                text => match text.parse() {
                    Ok(address @ ListenAddress::Tcp { .. }) => set(settings, Some(address)),
                    _ => return Err(invalid(format!("must be {}", self.values()))),
                },
            },
            ValueType::Collector(set) => match text {
                "off" => set(settings, None),
                url if is_collector(url) => set(settings, Some(url.to_owned())),
                _ => return Err(format!("must be {}", self.values())),
            },
            ValueType::File(set) => match text {
                "none" => set(settings, None),
                "" => return Err(invalid("must be a path, or none".to_owned())),
                // The text may be a private key, so it is not quoted.
                text if text.contains("-----BEGIN") => {
                    return Err("must be the path of a file, not its contents".to_owned());
                }
                file => set(settings, Some(file.into())),
            },
            ValueType::Store => {
                settings.serve.store = text.parse().map_err(|problem: LocationError| problem.to_string())?;
            }
            ValueType::Switch(set) => {
                set(settings, text.parse().map_err(|_| invalid("must be true or false".to_owned()))?)
            }
            ValueType::Milliseconds(range, set) => set(settings, duration::parse_ms(text, range).map_err(invalid)?),
            ValueType::Number(range, set) => {
                set(settings, within(text, range).ok_or_else(|| invalid(format!("must be {}", self.values())))?);
            }
            ValueType::OptionalCredits(range, set) => {
                let credits = match text {
                    "unlimited" => None,
                    text => Some(within(text, range).ok_or_else(|| invalid(format!("must be {}", self.values())))?),
                };
                set(settings, credits);
            }
            ValueType::Credits(range, set) => {
                set(settings, within(text, range).ok_or_else(|| invalid(format!("must be {}", self.values())))?);
            }
            ValueType::Escrow => {
                settings.serve.escrow.mode = match text {
                    "auto" => EscrowMode::Auto,
                    "off" => EscrowMode::Off,
                    _ => return Err(invalid("must be auto or off".to_owned())),
                };
            }
            ValueType::LogFilter => settings.log.filter = log_options::filter(text).map_err(invalid)?,
            ValueType::LogFormat => settings.log.format = text.parse().map_err(invalid)?,
        }
        Ok(())
    }
}

impl ValueType {
    fn description(&self) -> String {
        match self {
            Self::Address(_) => "host:port, or unix:/path/of/socket".to_owned(),
            Self::OptionalPort(_) => "host:port, or off".to_owned(),
            Self::Collector(_) => "http://host:port, or off".to_owned(),
            Self::File(_) => "path, or none".to_owned(),
            Self::Store => "memory, embedded:DIRECTORY, redis://…, rediss://…, redis+unix://…".to_owned(),
            Self::Switch(_) => "true, false".to_owned(),
            Self::Milliseconds(range, _) => duration::format_range(range),
            Self::Number(range, _) => format!("{} to {}", range.start(), range.end()),
            Self::OptionalCredits(range, _) => format!("{} to {}, or unlimited", range.start(), range.end()),
            Self::Credits(range, _) => format!("{} to {}", range.start(), range.end()),
            Self::Escrow => "auto, off".to_owned(),
            Self::LogFilter => "error, warn, info, debug, trace, or by module: tollgate=debug,info".to_owned(),
            Self::LogFormat => "text, json".to_owned(),
        }
    }
}

/// Returns whether a text is an `http` URL with only a host and a port.
fn is_collector(text: &str) -> bool {
    let is_whole = |uri: &http::Uri| uri.scheme_str() == Some("http") && uri.port_u16().is_some() && uri.path() == "/";
    text.parse().is_ok_and(|uri| is_whole(&uri) && uri.query().is_none()) && !text.contains('@')
}

/// Parses a number, if it is within the range.
fn within<Number: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<Number>) -> Option<Number> {
    text.parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::policy::Policy,
        escrow::EscrowOptions,
        serve::{Access, Limits, ServeOptions},
        store::StoreOptions,
    };

    fn settings_with(key: &str, value: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        Setting::by_key(key).unwrap().apply(value, &mut settings).map(|()| settings)
    }

    #[test]
    fn the_defaults_are_those_of_the_options() {
        let mut settings = Settings::default();
        for setting in SETTINGS {
            setting.apply(setting.default, &mut settings).unwrap();
        }
        let serve = settings.serve;
        assert_eq!(serve.limits, Limits::default());
        assert_eq!(serve.policy, Policy::default());
        assert_eq!(serve.escrow, EscrowOptions::default());
        assert_eq!(serve.access, Access::default());
        assert_eq!(serve.store_wait, StoreOptions::default().wait);
        assert_eq!(serve.store_start_wait, ServeOptions::default().store_start_wait);
        assert_eq!((&serve.probe, serve.drain_delay), (&None, ServeOptions::default().drain_delay));
        assert_eq!(
            (serve.listen.to_string().as_str(), serve.admin.to_string().as_str()),
            ("127.0.0.1:50051", "127.0.0.1:50052")
        );
        assert_eq!(serve.store.to_string(), "embedded:./tollgate-data");
    }

    #[test]
    fn every_setting_sets_its_own_option() {
        // Each value is distinct and differs from the default, so that a setting that sets another's option is found.
        let values = [
            "h:1",
            "h:2",
            "h:3",
            "11",
            "http://h:4",
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
            "g",
            "memory",
            "1s",
            "12s",
            "true",
            "6s",
            "36h",
            "unlimited",
            "1d",
            "90m",
            "auto",
            "20s",
            "30s",
            "77",
            "debug",
            "json",
            "5000",
            "5001",
            "7",
            "8",
            "10",
            "5s",
            "9",
            "2s",
            "3s",
            "4s",
            "5m",
        ];
        let mut all = Settings::default();
        for (setting, value) in SETTINGS.iter().zip(values) {
            setting.apply(value, &mut all).unwrap();
        }
        let serve = &all.serve;
        assert_eq!(format!("{} {} {}", serve.listen, serve.admin, serve.store), "h:1 h:2 memory");
        assert_eq!(serve.probe.as_ref().map(ToString::to_string).as_deref(), Some("h:3"));
        assert_eq!((serve.metrics_teams, serve.otlp_endpoint.as_deref()), (11, Some("http://h:4")));
        let Access { listen_tls, admin_tls, admin_token_file, .. } = &serve.access;
        let files = [listen_tls, admin_tls].map(|tls| [&tls.certificate, &tls.key, &tls.client_ca]);
        let files = files.iter().flatten().copied().chain([admin_token_file]);
        let files: Vec<_> = files.map(|file| file.as_ref().unwrap().to_str().unwrap()).collect();
        assert_eq!(files, ["a", "b", "c", "d", "e", "f", "g"]);
        let waits = [serve.store_wait, serve.store_start_wait, serve.drain_delay];
        assert_eq!((waits.map(|wait| wait.as_secs()), serve.require_aof), ([1, 12, 6], true));
        let policy = &serve.policy;
        assert_eq!((policy.run_max_age_ms, policy.run_completion_credits), (129_600_000, None));
        assert_eq!((policy.rate_card_notice_ms, policy.committed_retention_ms), (86_400_000, 5_400_000));
        let escrow = &serve.escrow;
        assert_eq!((escrow.mode, escrow.max_lease_credits), (EscrowMode::Auto, 77));
        assert_eq!((escrow.terms.term_ms, escrow.terms.hold_ms), (20_000, 30_000));
        let limits = &serve.limits;
        assert_eq!((limits.max_message_bytes, limits.max_header_bytes), (5_000, 5_001));
        assert_eq!((limits.max_calls_per_connection, limits.max_calls, limits.max_streams), (7, 8, 10));
        assert_eq!((limits.max_call_time.as_secs(), limits.max_connections), (5, 9));
        let seconds =
            [limits.handshake_timeout, limits.keepalive_interval, limits.keepalive_timeout, limits.max_connection_age];
        assert_eq!(seconds.map(|duration| duration.as_secs()), [2, 3, 4, 300]);
        assert_eq!(SETTINGS.len(), values.len());
    }

    #[test]
    fn an_invalid_value_is_rejected_with_the_valid_ones() {
        for (key, value, expected) in [
            ("listen", "50051", "host:port"),
            ("probe", "unix:/probe", "host:port, or off"),
            ("probe", "50053", "host:port, or off"),
            ("otlp_endpoint", "https://h:4317", "http://host:port"),
            ("otlp_endpoint", "http://h", "http://host:port"),
            ("otlp_endpoint", "http://user:secret@h:4317", "http://host:port"),
            ("listen_tls_key", "-----BEGIN PRIVATE KEY-----", "the path of a file"),
            ("store", "postgres://h", "embedded:DIRECTORY"),
            ("drain_delay", "11m", "0ms to 10m"),
            ("store_wait", "9ms", "10ms to 30s"),
            ("store_wait", "31s", "10ms to 30s"),
            ("store_start_wait", "61m", "0ms to 1h"),
            ("store_wait", "250", "250ms"),
            ("require_aof", "yes", "true or false"),
            ("run_completion_credits", "-1", "or unlimited"),
            ("run_completion_credits", "1000000000001", "or unlimited"),
            ("escrow", "on", "auto or off"),
            ("lease_term", "1s", "2s to 1m"),
            ("lease_hold", "3m", "1s to 2m"),
            ("max_slice", "0", "1 to "),
            ("max_connections", "0", "1 to "),
            ("max_connections", "99999999999", "1 to "),
            ("log", "tollgate=loud", "tollgate=debug,info"),
            ("log", "inof", "tollgate=debug,info"),
            ("log", "tollgate=debug,inof", "tollgate=debug,info"),
            ("log_format", "xml", "text or json"),
        ] {
            let problem = settings_with(key, value).unwrap_err();
            assert!(problem.contains(expected), "{key} = {value}: {problem}");
        }
        assert_eq!(settings_with("run_completion_credits", "0").unwrap().serve.policy.run_completion_credits, Some(0));
    }

    #[test]
    fn the_docs_list_every_setting() {
        let mut table = "| setting | default | values | description |\n|---|---|---|---|\n".to_owned();
        for setting in SETTINGS {
            let Setting { key, default, help, .. } = setting;
            table.push_str(&format!("| `{key}` | `{default}` | {} | {help} |\n", setting.values()));
        }
        let page = include_str!("../../docs/configuration.md");
        assert!(page.contains(&table), "the table of settings in docs/configuration.md should be:\n{table}");
    }
}
