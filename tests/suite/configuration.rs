//! Tests of the configuration through the program: precedence of sources, errors, and the seed of a new store.

use std::{fs, process::Command, sync::Arc};

use tempfile::TempDir;
use tollgate::{
    proto::v1::{GetTeamRequest, ListRateCardsRequest, ListTeamsRequest, Team},
    store::StoreLocation,
};

use crate::suite::support::{
    client::{Client, team_without_seat, until_answered},
    kept::Kept,
    servers::{Engine, Server},
    sidecar::{Sidecar, argument, run},
};

/// Plans, a rate card in effect, an announced rate card, and two teams. A store with a catalogue rejects the first card as too late.
const SEEDS: &str = r#"
[plans]
free = 7000

[[rate_cards]]
version = "first"
effective_at = 2025-02-01T00:00:00Z
rates = [{ model = "gpt-4o", unit = "call", credits = 3 }]

[[rate_cards]]
version = "announced"
effective_at = 2100-01-01T00:00:00Z
rates = [{ model = "gpt-4o", unit = "call", credits = 4 }]

[[teams]]
team_id = "acme"
plan = "professional"
paid_seat = true
overages_enabled = true
overage_cap_blocks = 4

[[teams]]
team_id = "small"
plan = "free"
paid_seat = true
billing_anchor_day = 31
"#;

/// Returns a directory whose `tollgate.toml` has this text.
fn directory(file: &str) -> Arc<TempDir> {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    fs::write(directory.path().join("tollgate.toml"), file).unwrap();
    directory
}

/// Runs the program in a directory. Returns its exit code, standard output and standard error.
fn tollgate_in(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new("env");
    command.arg("-C").arg(directory.path()).arg(env!("CARGO_BIN_EXE_tollgate")).args(arguments);
    let output = run(command.envs(variables.iter().copied()));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Returns the value and the source of a setting, as `check-config --json` prints them.
fn checked_setting(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)], key: &str) -> (String, String) {
    let (code, printed, error) = tollgate_in(directory, &[&["check-config", "--json"], arguments].concat(), variables);
    assert_eq!(code, Some(0), "{error}");
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let text = |name: &str| printed["settings"][key][name].as_str().unwrap().to_owned();
    (text("value"), text("from"))
}

/// Asserts that `serve` and `check-config` fail with this exit code and all of these texts, and print nothing.
#[track_caller]
fn both_fail(directory: &TempDir, arguments: &[&str], variables: &[(&str, &str)], code: i32, expected: &[&str]) {
    for command in ["serve", "check-config"] {
        let (found, printed, error) = tollgate_in(directory, &[&[command], arguments].concat(), variables);
        assert_eq!(found, Some(code), "{command}: {error}");
        assert!(printed.is_empty() && !error.contains("secret"), "{command}: {printed}{error}");
        for part in expected {
            assert!(error.contains(part), "{command}: {error} does not have {part}");
        }
    }
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = directory("max_calls = 2000");
    let variable = [("TOLLGATE_MAX_CALLS", "3000")];
    let nothing = tempfile::tempdir().unwrap();
    for (directory, arguments, variables, value, from) in [
        (&nothing, &[][..], &[][..], "1024", "default"),
        (&file, &[][..], &[][..], "2000", "tollgate.toml, line 1"),
        (&file, &[][..], &variable[..], "3000", "TOLLGATE_MAX_CALLS"),
        (&file, &["--max-calls", "5000"][..], &variable[..], "5000", "--max-calls"),
    ] {
        let found = checked_setting(directory, arguments, variables, "max_calls");
        assert_eq!(found, (value.to_owned(), from.to_owned()));
    }
}

#[test]
fn serve_uses_the_same_precedence() {
    let nowhere = |name: &str| format!("redis+unix:///nowhere/{name}");
    let [of_file, of_variable, of_flag] = ["file", "variable", "flag"].map(nowhere);
    let addresses = "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"";
    let file = directory(&format!("store = \"{of_file}\"\nstore_start_wait = \"0s\"\n{addresses}"));
    let variable = [("TOLLGATE_STORE", of_variable.as_str())];
    for (arguments, variables, store) in [
        (&["serve"][..], &[][..], &of_file),
        (&["serve"][..], &variable[..], &of_variable),
        (&["--store", &of_flag][..], &variable[..], &of_flag),
    ] {
        let (code, _, error) = tollgate_in(&file, arguments, variables);
        assert!(code == Some(69) && error.contains(store.as_str()), "{error}");
    }
    let sidecar = Sidecar::start_in(&directory("listen = \"unix:data\"\nadmin = \"unix:admin\""), &["--store=memory"]);
    assert_eq!((sidecar.data(), sidecar.admin()), ("unix:data", "unix:admin"));
}

#[test]
fn a_named_file_is_read_and_must_exist() {
    let file = directory("max_calls = 1");
    fs::write(file.path().join("other.toml"), "max_calls = 2").unwrap();
    fs::write(file.path().join("third.toml"), "max_calls = 3").unwrap();
    let variable = [("TOLLGATE_CONFIG", "other.toml")];
    assert_eq!(checked_setting(&file, &[], &variable, "max_calls").1, "other.toml, line 1");
    assert_eq!(checked_setting(&file, &["--config", "third.toml"], &variable, "max_calls").1, "third.toml, line 1");
    both_fail(&file, &["--config", "none.toml"], &[], 66, &["cannot read none.toml (named by --config)"]);
    both_fail(
        &file,
        &[],
        &[("TOLLGATE_CONFIG", "none.toml")],
        66,
        &["cannot read none.toml (named by TOLLGATE_CONFIG)"],
    );
    both_fail(&file, &["--config", "redis://u:secret@h"], &[], 66, &["cannot read (a URL) (named by --config)"]);
}

#[test]
fn an_invalid_value_is_rejected_with_its_source() {
    let nothing = tempfile::tempdir().unwrap();
    let file = directory("store_wait = \"1ms\"");
    both_fail(&file, &[], &[], 78, &["store_wait (tollgate.toml, line 1): invalid value `1ms`: must be 10ms to 30s"]);
    both_fail(&nothing, &[], &[("TOLLGATE_STORE_WAIT", "1ms")], 78, &["store_wait (TOLLGATE_STORE_WAIT): "]);
    both_fail(&nothing, &["--store-wait=1ms"], &[], 78, &["store_wait (--store-wait): "]);
    both_fail(&nothing, &["--run-max-age", "-5h"], &[], 78, &["invalid value `-5h`: must be 1s to 3650d"]);
    both_fail(
        &nothing,
        &["--listen=127.0.0.1:5", "--admin=127.0.0.1:5"],
        &[],
        78,
        &["admin (--admin): must not be the address of listen"],
    );
    both_fail(&nothing, &[], &[("RUST_LOG", "a=loud")], 78, &["log (RUST_LOG): "]);
    both_fail(&directory("listen = "), &[], &[], 78, &["tollgate.toml, line 1: invalid TOML"]);
    let all = ["store_wait (tollgate.toml, line 1)", "max_calls (TOLLGATE_MAX_CALLS)", "log_format (--log-format)"];
    both_fail(&file, &["--log-format=xml"], &[("TOLLGATE_MAX_CALLS", "0")], 78, &all);
}

#[test]
fn an_unknown_name_is_rejected_with_a_suggestion() {
    let nothing = tempfile::tempdir().unwrap();
    let near = "max_conections (tollgate.toml, line 1): unknown key; did you mean max_connections?";
    both_fail(&directory("max_conections = 1"), &[], &[], 78, &[near]);
    let nested = "[[teams]]\nteam_id = \"a\"\nplan = \"free\"\npayed_seat = true";
    both_fail(
        &directory(nested),
        &[],
        &[],
        78,
        &["teams[0].payed_seat (tollgate.toml, line 4)", "did you mean paid_seat?"],
    );
    both_fail(&nothing, &[], &[("TOLLGATE_STROE", "secret")], 78, &["TOLLGATE_STROE", "did you mean TOLLGATE_STORE?"]);
    both_fail(&nothing, &["--stroe", "secret"], &[], 64, &["--stroe", "--store"]);
    both_fail(&nothing, &["redis://:secret@h"], &[], 64, &["unexpected argument"]);
    both_fail(&nothing, &["--store-wait"], &[], 64, &["--store-wait"]);
    let from_kubernetes = [("TOLLGATE_SERVICE_HOST", "10.0.0.1"), ("TOLLGATE_PORT_50051_TCP_ADDR", "10.0.0.1")];
    assert_eq!(checked_setting(&nothing, &[], &from_kubernetes, "listen").1, "default");
}

#[test]
fn a_password_is_never_shown() {
    let nothing = tempfile::tempdir().unwrap();
    for store in ["redis://:secret@h:port", "redis://u:1/secret@h", "postgres://u:secret@h", "redis://:secret@h/name"] {
        both_fail(&directory(&format!("store = \"{store}\"")), &[], &[], 78, &["store (tollgate.toml, line 1)"]);
        both_fail(&nothing, &[], &[("TOLLGATE_STORE", store)], 78, &["store (TOLLGATE_STORE)"]);
        both_fail(&nothing, &["--store", store], &[], 78, &["store (--store)"]);
    }
    both_fail(&directory("store = \"redis://:secret@h"), &[], &[], 78, &["invalid TOML"]);
    for arguments in [&["check-config"][..], &["check-config", "--json"]] {
        let variables = [("TOLLGATE_STORE", "redis://u:secret@h:1/2")];
        let (code, printed, error) = tollgate_in(&nothing, arguments, &variables);
        assert!(code == Some(0) && printed.contains("redis://h:1/2") && error.is_empty(), "{error}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}

#[test]
fn check_config_shows_the_seed_and_opens_no_store() {
    let file = directory(&format!("store = \"embedded:data\"\n{SEEDS}"));
    let (code, printed, error) = tollgate_in(&file, &["check-config"], &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for part in
        ["embedded:data", "tollgate.toml, line 1", "7000", "announced", "2100-01-01T00:00:00Z", "at most 4 blocks"]
    {
        assert!(printed.contains(part), "{printed} does not have {part}");
    }
    let (_, printed, _) = tollgate_in(&file, &["check-config", "--json"], &[]);
    let seed = &serde_json::from_str::<serde_json::Value>(&printed).unwrap()["seed"];
    assert_eq!((&seed["plans"]["free"], &seed["teams"][1]["team_id"]), (&7_000.into(), &"small".into()));
    assert!(!file.path().join("data").exists());
}

#[test]
fn the_log_format_can_be_json() {
    let sidecar =
        Sidecar::start_in(&directory(SEEDS), &[&ANY_PORTS[..], &["--store=memory", "--log-format=json"]].concat());
    let log = sidecar.stderr();
    assert!(log.contains("created a configured team"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

const ANY_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// Starts a sidecar on a store, in a directory.
fn sidecar(directory: &Arc<TempDir>, store: &StoreLocation) -> Sidecar {
    Sidecar::start_in(directory, &[&ANY_PORTS[..], &["--store", &argument(store)]].concat())
}

async fn team(client: &Client, team_id: &str) -> Team {
    let request = GetTeamRequest { team_id: team_id.to_owned() };
    let get = || async { Ok(client.accounts.clone().get_team(request.clone()).await?.into_inner()) };
    until_answered("a team", get).await.team.unwrap()
}

async fn team_ids(client: &Client) -> Vec<String> {
    let list = || async { Ok(client.accounts.clone().list_teams(ListTeamsRequest::default()).await?.into_inner()) };
    until_answered("the teams", list).await.teams.into_iter().map(|team| team.team_id).collect()
}

async fn versions(client: &Client) -> Vec<String> {
    let list =
        || async { Ok(client.accounts.clone().list_rate_cards(ListRateCardsRequest::default()).await?.into_inner()) };
    until_answered("the cards", list).await.rate_cards.into_iter().map(|card| card.version).collect()
}

/// Asserts that a store has the teams, plans and rate cards of [`SEEDS`].
async fn has_seeds(client: &Client) {
    assert_eq!(team_ids(client).await, ["acme", "small"]);
    assert_eq!(versions(client).await, ["first", "announced"]);
    let acme = team(client, "acme").await;
    assert_eq!((acme.plan.as_str(), acme.overages_enabled, acme.overage_cap_blocks), ("professional", true, Some(4)));
    assert_eq!(team(client, "small").await.billing_anchor_day, 31);
    assert_eq!(client.books("small").await.balance.included, 7_000);
}

/// Every kind of store gets the seed of the file, and then no demo teams.
#[tokio::test]
async fn every_kind_of_store_gets_the_seed() {
    let embedded = Kept::embedded();
    let servers = [Engine::Redis, Engine::Valkey].map(Server::start);
    let stores = [StoreLocation::Memory, embedded.location(), servers[0].location(), servers[1].location()];
    for store in stores {
        let sidecar = sidecar(&directory(SEEDS), &store);
        assert!(!sidecar.stdout().contains("demo"), "{}", sidecar.stdout());
        has_seeds(&sidecar.client()).await;
    }
}

/// Of several sidecars that start at the same time, one writes each part of the seed.
#[tokio::test]
async fn sidecars_that_start_together_seed_once() {
    let server = Server::start(Engine::Redis);
    let location = server.location();
    let started: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| sidecar(&directory(SEEDS), &location))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for sidecar in &started {
        has_seeds(&sidecar.client()).await;
    }
    let logs: Vec<_> = started.iter().map(Sidecar::stderr).collect();
    let made: usize = logs.iter().map(|log| log.matches("created a configured team").count()).sum();
    assert_eq!(made, 2, "{logs:?}");
    let mut connection = server.connect();
    let entries: u64 = redis::cmd("XLEN").arg("tollgate:{acme}:audit").query(&mut connection).unwrap();
    assert_eq!(entries, 1);
}

#[tokio::test]
async fn the_seed_never_overwrites_what_a_store_has() {
    let kept = Kept::durable(Engine::Redis);
    {
        let first = sidecar(&Arc::new(tempfile::tempdir().unwrap()), &kept.location());
        first.client().put_team(team_without_seat("acme", 5)).await;
    }
    let with_a_reused_version = format!(
        "{SEEDS}\n[[rate_cards]]\nversion = \"2025-01-22\"\neffective_at = 2100-02-01T00:00:00Z\n\
         rates = [{{ model = \"gpt-4o\", unit = \"call\", credits = 99 }}]"
    );
    let second = sidecar(&directory(&with_a_reused_version), &kept.location());
    let client = second.client();
    let acme = team(&client, "acme").await;
    assert_eq!((acme.plan.as_str(), acme.overages_enabled, acme.included_credits), ("free", false, Some(5)));
    assert_eq!(versions(&client).await, ["2025-01-22", "announced"]);
    assert_eq!(client.books("small").await.balance.included, 5_000, "the plans of the store stay");
    let log = second.stderr();
    for (level, part) in [
        ("WARN", "[plans] differs from the store"),
        ("WARN", "a configured rate card was not accepted"),
        ("WARN", "a rate card must be announced"),
        ("WARN", "the store has another rate card of this version"),
        ("INFO", "a configured team differs from the store"),
    ] {
        assert!(log.lines().any(|line| line.contains(level) && line.contains(part)), "{log} does not have {part}");
    }
}

#[test]
fn demo_teams_are_created_if_the_file_names_no_team() {
    let with_plans_only = SEEDS.split("[[teams]]").next().unwrap();
    let sidecar = sidecar(&directory(with_plans_only), &StoreLocation::Memory);
    assert!(sidecar.stdout().contains("three demo teams"), "{}", sidecar.stdout());
}

#[tokio::test]
async fn a_shared_store_gets_no_demo_teams() {
    let server = Server::start(Engine::Redis);
    let sidecar = sidecar(&directory(""), &server.location());
    assert!(!sidecar.stdout().contains("demo"), "{}", sidecar.stdout());
    assert_eq!(team_ids(&sidecar.client()).await, [""; 0]);
}
