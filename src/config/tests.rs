use std::fs;

use clap::{Command, FromArgMatches as _};

use super::*;

fn flags(arguments: &[&str]) -> Flags {
    let command = <Flags as clap::Args>::augment_args(Command::new("tollgate"));
    Flags::from_arg_matches(&command.get_matches_from(["tollgate"].iter().chain(arguments))).unwrap()
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
}

/// Returns a directory whose `tollgate.toml` has this text.
fn directory(file: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tollgate.toml"), file).unwrap();
    directory
}

/// Returns the value and the source of a setting.
fn effective(configuration: &Configuration, key: &str) -> (String, String) {
    let found = configuration.effective.iter().find(|setting| setting.key == key).unwrap();
    (found.value.clone(), found.from.clone())
}

#[test]
fn the_highest_of_four_layers_wins() {
    let file = directory("max_calls = 1\nmax_connections = 2\nlog = \"warn\"\nmax_header_bytes = 5000");
    let variables = variables(&[
        ("TOLLGATE_MAX_CALLS", "3"),
        ("TOLLGATE_MAX_CONNECTIONS", "4"),
        ("RUST_LOG", "debug"),
        ("TOLLGATE_MAX_MESSAGE_BYTES", ""),
    ]);
    let configuration = load(&flags(&["--max-calls", "5"]), &variables, file.path()).unwrap();
    for (key, value, from) in [
        ("max_calls", "5", "--max-calls"),
        ("max_connections", "4", "TOLLGATE_MAX_CONNECTIONS"),
        ("max_header_bytes", "5000", "tollgate.toml, line 4"),
        ("max_message_bytes", "65536", "default"),
        ("log", "warn", "tollgate.toml, line 3"),
    ] {
        assert_eq!(effective(&configuration, key), (value.to_owned(), from.to_owned()), "{key}");
    }
    let limits = configuration.settings.serve.limits;
    assert_eq!((limits.max_calls, limits.max_connections, limits.max_header_bytes), (5, 4, 5_000));
    assert_eq!(configuration.settings.log.filter, "warn");
}

#[test]
fn rust_log_is_a_fallback() {
    let nowhere = tempfile::tempdir().unwrap();
    let log = |pairs: &[(&str, &str)]| {
        let configuration = load(&Flags::default(), &variables(pairs), nowhere.path()).unwrap();
        assert_eq!(log_from_environment(&variables(pairs)).unwrap(), configuration.settings.log);
        effective(&configuration, "log")
    };
    assert_eq!(log(&[]), ("info".to_owned(), "default".to_owned()));
    assert_eq!(log(&[("RUST_LOG", "debug")]), ("debug".to_owned(), "RUST_LOG".to_owned()));
    let both = [("RUST_LOG", "debug"), ("TOLLGATE_LOG", "trace")];
    assert_eq!(log(&both), ("trace".to_owned(), "TOLLGATE_LOG".to_owned()));
}

#[test]
fn problems_of_all_layers_are_reported_even_if_overridden() {
    let file = directory("store_wait = \"1ms\"\nlisen = 1");
    let variables = variables(&[("TOLLGATE_STORE_WAIT", "1h"), ("TOLLGATE_LISEN", "x"), ("RUST_LOG", "a=loud")]);
    let flags = flags(&["--store-wait=soon", "--log=info", "--admin=127.0.0.1:50051"]);
    let ConfigError::Invalid(problems) = load(&flags, &variables, file.path()).unwrap_err() else { panic!() };
    let mut found: Vec<_> = problems.iter().map(|problem| format!("{} ({})", problem.key, problem.origin)).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "TOLLGATE_LISEN (environment)",
            "admin (--admin)",
            "lisen (tollgate.toml, line 2)",
            "store_wait (--store-wait)",
            "store_wait (TOLLGATE_STORE_WAIT)",
            "store_wait (tollgate.toml, line 1)",
        ]
    );
}

#[test]
fn listeners_need_different_addresses() {
    let nowhere = tempfile::tempdir().unwrap();
    let loads = |listen: &str, admin: &str| {
        let flags = flags(&["--listen", listen, "--admin", admin]);
        load(&flags, &Variables::default(), nowhere.path()).is_ok()
    };
    assert!(!loads("unix:/s", "unix:/s") && !loads("0.0.0.0:5", "127.0.0.1:5"));
    assert!(loads("127.0.0.1:0", "127.0.0.1:0") && loads("10.0.0.1:5", "127.0.0.1:5"));
}

#[test]
fn only_a_named_file_is_required() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(load(&Flags::default(), &Variables::default(), directory.path()).unwrap().file, None);
    let by_flag = (flags(&["--config", "none.toml"]), Variables::default());
    let by_variable = (Flags::default(), variables(&[("TOLLGATE_CONFIG", "none.toml")]));
    for ((flags, variables), named_by) in [(by_flag, "--config"), (by_variable, "TOLLGATE_CONFIG")] {
        let error = load(&flags, &variables, directory.path()).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable(_)));
        assert!(error.to_string().contains("none.toml") && error.to_string().contains(named_by), "{error}");
    }
    fs::write(directory.path().join("other.toml"), [0xff]).unwrap();
    let error = load(&flags(&["--config=other.toml"]), &Variables::default(), directory.path()).unwrap_err();
    assert_eq!(error.to_string(), "other.toml: must be valid UTF-8");
}

/// A command finds the admin listener although other settings are not valid.
#[test]
fn the_admin_listener_is_found_despite_other_problems() {
    let broken = directory("admin = \"h:7\"\nmax_calls = 0\nnonsense = 1");
    let address = |arguments: &[&str], pairs: &[(&str, &str)], directory: &tempfile::TempDir| {
        admin_from(&flags(arguments), &variables(pairs), directory.path()).map(|admin| admin.address.to_string())
    };
    assert_eq!(address(&[], &[("TOLLGATE_NONSENSE", "1")], &broken).unwrap(), "h:7");
    let unreadable = directory("admin = ");
    assert_eq!(address(&["--admin=h:1"], &[("TOLLGATE_ADMIN", "h:2")], &unreadable).unwrap(), "h:1");
    assert_eq!(address(&[], &[("TOLLGATE_ADMIN", "h:2")], &unreadable).unwrap(), "h:2");
    assert!(address(&[], &[], &unreadable).is_err());
    assert_eq!(address(&[], &[], &tempfile::tempdir().unwrap()).unwrap(), "127.0.0.1:50052");
    assert!(address(&["--admin=nowhere"], &[], &broken).unwrap_err().to_string().starts_with("admin (--admin): "));
}

#[test]
fn a_password_is_never_shown() {
    let nowhere = tempfile::tempdir().unwrap();
    let store = "rediss://user:secret@h:6380/3?x=secret";
    let pairs = [("TOLLGATE_STORE", store)];
    let configuration = load(&flags(&["--store", store]), &variables(&pairs), nowhere.path()).unwrap();
    assert_eq!(effective(&configuration, "store").0, "rediss://h:6380/3");
    assert!(!format!("{configuration:?}").contains("secret"));
    for store in ["redis://:secret@h:port", "redis://u:1/secret@h", "secret", "postgres://secret"] {
        let error = load(&flags(&["--store", store]), &Variables::default(), nowhere.path()).unwrap_err();
        assert!(error.to_string().starts_with("store (--store): "), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn a_command_finds_the_admin_token_file() {
    let file = directory("admin = \"h:7\"\nadmin_token_file = \"in-file\"\nmax_calls = 0");
    let token = |arguments: &[&str], pairs: &[(&str, &str)]| {
        admin_from(&flags(arguments), &variables(pairs), file.path()).unwrap().token_file
    };
    assert_eq!(token(&[], &[]), Some("in-file".into()));
    assert_eq!(token(&[], &[("TOLLGATE_ADMIN_TOKEN_FILE", "in-variable")]), Some("in-variable".into()));
    assert_eq!(token(&["--admin=elsewhere:1"], &[]), None);
}

#[test]
fn access_settings_that_contradict_are_rejected() {
    let rejected = |text: &str, expected: &[&str]| {
        let file = directory(text);
        let error = load(&Flags::default(), &Variables::default(), file.path()).unwrap_err().to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
    };
    let pair = "listen_tls_certificate = \"c\"\nlisten_tls_key = \"k\"\n";
    rejected("listen_tls_key = \"k\"", &["listen_tls_key (tollgate.toml, line 1): needs listen_tls_certificate too"]);
    rejected(
        &format!("{pair}listen = \"unix:/s\""),
        &["line 1): is for a listener on host:port", "unix:/s is a socket"],
    );
    rejected(&format!("{pair}[clients]\na = [\"*\"]"), &["clients: needs listen_tls_client_ca"]);
    let beyond = "admin = \"0.0.0.0:1\"\n";
    let tls = "admin_tls_certificate = \"c\"\nadmin_tls_key = \"k\"\n";
    let token = "admin_token_file = \"t\"\n";
    for text in [beyond.to_owned(), [beyond, tls].concat(), [beyond, token].concat()] {
        rejected(&text, &["admin (tollgate.toml, line 1)", "needs TLS and a token"]);
    }
    let file = directory(&[beyond, tls, token].concat());
    load(&Flags::default(), &Variables::default(), file.path()).unwrap();
}
