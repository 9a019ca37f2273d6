//! The table of all settings. Their flags, variables, keys of the file, help and ranges all come from it.

mod table;

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr};

pub use self::table::SETTINGS;
use super::{Settings, duration, log, problem::repeated};
use crate::{
    escrow::EscrowMode,
    serve::{InvalidAddress, ListenAddress},
    store::{LocationError, StoreLocation},
};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file.
    pub key: &'static str,
    /// What a value is called in help.
    pub value_name: &'static str,
    /// What it is if nobody says anything, as one would write it.
    pub default: &'static str,
    /// What it does; for a limit, also why.
    pub help: &'static str,
    /// Under which heading help shows it.
    pub heading: &'static str,
    pub(super) kind: Kind,
}

/// What values a setting has, and where a value goes.
pub(super) enum Kind {
    Address(fn(&mut Settings, ListenAddress)),
    /// `off` is none; it is reached by TCP only.
    Port(fn(&mut Settings, Option<ListenAddress>)),
    /// `off` is none; it is reached in plaintext, and without a password.
    Collector(fn(&mut Settings, Option<String>)),
    File(fn(&mut Settings, Option<PathBuf>)),
    Store,
    Switch(fn(&mut Settings, bool)),
    Milliseconds(RangeInclusive<i64>, fn(&mut Settings, i64)),
    Number(RangeInclusive<u32>, fn(&mut Settings, u32)),
    /// `None` is unlimited.
    Credits(RangeInclusive<i64>, fn(&mut Settings, Option<i64>)),
    Amount(RangeInclusive<i64>, fn(&mut Settings, i64)),
    Escrow,
    LogFilter,
    LogFormat,
}

impl fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words())
    }
}

impl Setting {
    /// The setting of that key.
    pub fn of_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its name on the command line, without the hyphens before it.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("TOLLGATE_{}", self.key.to_uppercase())
    }

    /// Which values it may have, for people.
    pub fn values(&self) -> String {
        self.kind.words()
    }

    /// Whether it can be said without a value, which then is `true`.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch(_))
    }

    /// Whether a value of it may begin with a hyphen, if only to be refused with a sentence.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Milliseconds(..) | Kind::Number(..) | Kind::Credits(..) | Kind::Amount(..))
    }

    /// A value of it as it may be shown: without a password.
    pub(super) fn shown(&self, text: &str) -> String {
        match self.kind {
            Kind::Store => {
                text.parse().map_or_else(|_| "(hidden)".to_owned(), |store: StoreLocation| store.to_string())
            }
            // Whatever it was instead of a collector's URL, it may hold a password.
            Kind::Collector(_) if text != "off" && !is_collector(text) => "(hidden)".to_owned(),
            _ => text.to_owned(),
        }
    }

    /// Takes a value, as somebody wrote it.
    pub(super) fn apply(&self, text: &str, settings: &mut Settings) -> Result<(), String> {
        // What a store may not be is said without repeating it; whatever else it was, it may hold a password.
        let told = |sentence: String| format!("{} is refused: {sentence}", repeated(text));
        match &self.kind {
            Kind::Address(set) => {
                set(settings, text.parse().map_err(|problem: InvalidAddress| told(problem.to_string()))?);
            }
            Kind::Port(set) => match text {
                "off" => set(settings, None),
                text => match text.parse() {
                    Ok(address @ ListenAddress::Tcp { .. }) => set(settings, Some(address)),
                    _ => return Err(told(format!("must be {}", self.values()))),
                },
            },
            Kind::Collector(set) => match text {
                "off" => set(settings, None),
                url if is_collector(url) => set(settings, Some(url.to_owned())),
                _ => return Err(format!("must be {}", self.values())),
            },
            Kind::File(set) => match text {
                "none" => set(settings, None),
                "" => return Err(told("must be a file, or none".to_owned())),
                // Whoever mistakes it for what the file holds is told so, and shows it to nobody.
                text if text.contains("-----BEGIN") => {
                    return Err("must be the name of a file, not what it holds".to_owned());
                }
                file => set(settings, Some(file.into())),
            },
            Kind::Store => {
                settings.serve.store = text.parse().map_err(|problem: LocationError| problem.to_string())?;
            }
            Kind::Switch(set) => set(settings, text.parse().map_err(|_| told("must be true or false".to_owned()))?),
            Kind::Milliseconds(range, set) => set(settings, duration::parse_ms(text, range).map_err(told)?),
            Kind::Number(range, set) => {
                set(settings, within(text, range).ok_or_else(|| told(format!("must be {}", self.values())))?);
            }
            Kind::Credits(range, set) => {
                let credits = match text {
                    "unlimited" => None,
                    text => Some(within(text, range).ok_or_else(|| told(format!("must be {}", self.values())))?),
                };
                set(settings, credits);
            }
            Kind::Amount(range, set) => {
                set(settings, within(text, range).ok_or_else(|| told(format!("must be {}", self.values())))?);
            }
            Kind::Escrow => {
                settings.serve.escrow.mode = match text {
                    "auto" => EscrowMode::Auto,
                    "off" => EscrowMode::Off,
                    _ => return Err(told("must be auto or off".to_owned())),
                };
            }
            Kind::LogFilter => settings.log.filter = log::filter(text).map_err(told)?,
            Kind::LogFormat => settings.log.format = text.parse().map_err(told)?,
        }
        Ok(())
    }
}

impl Kind {
    fn words(&self) -> String {
        match self {
            Self::Address(_) => "host:port, or unix:/path/of/socket".to_owned(),
            Self::Port(_) => "host:port, or off".to_owned(),
            Self::Collector(_) => "http://host:port, or off".to_owned(),
            Self::File(_) => "a file, or none".to_owned(),
            Self::Store => "memory, embedded:DIRECTORY, redis://…, rediss://…, redis+unix://…".to_owned(),
            Self::Switch(_) => "true, false".to_owned(),
            Self::Milliseconds(range, _) => duration::words(range),
            Self::Number(range, _) => format!("{} to {}", range.start(), range.end()),
            Self::Credits(range, _) => format!("{} to {}, or unlimited", range.start(), range.end()),
            Self::Amount(range, _) => format!("{} to {}", range.start(), range.end()),
            Self::Escrow => "auto, off".to_owned(),
            Self::LogFilter => "error, warn, info, debug, trace, or by part: tollgate=debug,info".to_owned(),
            Self::LogFormat => "text, json".to_owned(),
        }
    }
}

/// Whether a text is a URL of nothing but a host and a port.
fn is_collector(text: &str) -> bool {
    let is_whole = |uri: &http::Uri| uri.scheme_str() == Some("http") && uri.port_u16().is_some() && uri.path() == "/";
    text.parse().is_ok_and(|uri| is_whole(&uri) && uri.query().is_none()) && !text.contains('@')
}

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

    fn with(key: &str, value: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        Setting::of_key(key).unwrap().apply(value, &mut settings).map(|()| settings)
    }

    #[test]
    fn what_is_not_said_is_what_the_product_ships() {
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
        assert_eq!((&serve.probe, serve.drain_delay), (&None, ServeOptions::default().drain_delay));
        assert_eq!(
            (serve.listen.to_string().as_str(), serve.admin.to_string().as_str()),
            ("127.0.0.1:50051", "127.0.0.1:50052")
        );
        assert_eq!(serve.store.to_string(), "embedded:./tollgate-data");
    }

    #[test]
    fn every_setting_has_a_value_of_its_own() {
        // Each value differs from the default, so that one that goes to another's place is found.
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
        assert_eq!((serve.store_wait.as_secs(), serve.require_aof, serve.drain_delay.as_secs()), (1, true, 6));
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
    fn a_value_that_is_of_no_use_is_refused_with_what_would_be() {
        for (key, value, says) in [
            ("listen", "50051", "host:port"),
            ("probe", "unix:/probe", "host:port, or off"),
            ("probe", "50053", "host:port, or off"),
            ("otlp_endpoint", "https://h:4317", "http://host:port"),
            ("otlp_endpoint", "http://h", "http://host:port"),
            ("otlp_endpoint", "http://user:secret@h:4317", "http://host:port"),
            ("listen_tls_key", "-----BEGIN PRIVATE KEY-----", "the name of a file"),
            ("store", "postgres://h", "embedded:DIRECTORY"),
            ("drain_delay", "11m", "0ms to 10m"),
            ("store_wait", "9ms", "10ms to 30s"),
            ("store_wait", "31s", "10ms to 30s"),
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
            let problem = with(key, value).unwrap_err();
            assert!(problem.contains(says), "{key} = {value}: {problem}");
        }
        assert_eq!(with("run_completion_credits", "0").unwrap().serve.policy.run_completion_credits, Some(0));
    }

    #[test]
    fn the_docs_list_every_setting() {
        let mut table = "| key | default | values | |\n|---|---|---|---|\n".to_owned();
        for setting in SETTINGS {
            let Setting { key, default, help, .. } = setting;
            table.push_str(&format!("| `{key}` | `{default}` | {} | {help} |\n", setting.values()));
        }
        let page = include_str!("../../docs/configuration.md");
        assert!(page.contains(&table), "the table of settings in docs/configuration.md should be:\n{table}");
    }
}
