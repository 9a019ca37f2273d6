//! A configuration that changes while a sidecar serves.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use tempfile::TempDir;
use tollgate::proto::v1::ListTeamsRequest;

use crate::suite::support::{
    client::{Client, prompt_test, until_answered},
    sidecar::Sidecar,
    wait_for, wait_until,
};

/// A configuration with these teams.
fn with(teams: &[&str], more: &str) -> String {
    let teams = teams.iter().map(|team| format!("[[teams]]\nteam_id = \"{team}\"\nplan = \"free\"\n"));
    format!("{more}\n{}", teams.collect::<String>())
}

fn start(directory: &Arc<TempDir>) -> Sidecar {
    Sidecar::start_in(directory, &["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--store=memory"])
}

async fn team_ids(client: &Client) -> Vec<String> {
    let list = || async { Ok(client.accounts.clone().list_teams(ListTeamsRequest::default()).await?.into_inner()) };
    until_answered("the teams", list).await.teams.into_iter().map(|team| team.team_id).collect()
}

/// Waits until the teams are these.
async fn has(client: &Client, teams: &[&str]) {
    wait_for("the teams", || async { (team_ids(client).await == teams).then_some(()) }).await;
}

/// Whether decisions are logged, which they are at debug.
async fn logs_decisions(sidecar: &Sidecar) -> bool {
    let before = sidecar.stderr().matches("decision=").count();
    sidecar.client().proceed(prompt_test("first", "", "gpt-4o")).await;
    sidecar.stderr().matches("decision=").count() > before
}

/// Turns a link as the kubelet does when a ConfigMap has changed.
fn turn(directory: &Path, text: &str, version: &str) {
    fs::create_dir(directory.join(version)).unwrap();
    fs::write(directory.join(version).join("tollgate.toml"), text).unwrap();
    symlink(version, directory.join("..data.new")).unwrap();
    fs::rename(directory.join("..data.new"), directory.join("..data")).unwrap();
}

#[tokio::test]
async fn a_file_that_changes_is_read_anew_and_one_that_is_of_no_use_is_refused_with_the_reason() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    turn(directory.path(), &with(&["first"], "log = \"info\""), "v1");
    symlink("..data/tollgate.toml", directory.path().join("tollgate.toml")).unwrap();
    let sidecar = start(&directory);
    let client = sidecar.client();
    assert_eq!(team_ids(&client).await, ["first"]);
    assert!(!logs_decisions(&sidecar).await);

    turn(directory.path(), &with(&["first", "second"], "log = \"debug\"\nmax_calls = 77"), "v2");
    has(&client, &["first", "second"]).await;
    assert!(logs_decisions(&sidecar).await);
    assert!(sidecar.stderr().contains("what is new of max_calls takes effect at the next start"));

    turn(directory.path(), &with(&["first", "second", "third"], "log = \"loud\"\nmax_cals = 1"), "v3");
    wait_until("the file is refused", || sidecar.stderr().contains("is refused; what was read before stays"));
    let log = sidecar.stderr();
    for reason in ["`loud` is refused", "did you mean max_calls?"] {
        assert!(log.contains(reason), "{log}");
    }
    assert_eq!(team_ids(&client).await, ["first", "second"]);
    assert!(logs_decisions(&sidecar).await, "the old level stays");

    fs::remove_file(directory.path().join("tollgate.toml")).unwrap();
    wait_until("the loss is told", || sidecar.stderr().contains("the file is gone"));
    assert!(logs_decisions(&sidecar).await);
}

#[tokio::test]
async fn sighup_reads_the_configuration_anew_and_ends_nothing() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("tollgate.toml");
    fs::write(&file, with(&["first"], "")).unwrap();
    let sidecar = start(&directory);
    let client = sidecar.client();
    // A team that the store has is left as it is.
    fs::write(&file, with(&["first", "second"], "").replacen("\"free\"", "\"basic\"", 1)).unwrap();
    sidecar.signal("HUP");
    wait_until("it is told", || sidecar.stderr().contains("SIGHUP: read anew"));
    has(&client, &["first", "second"]).await;
    wait_until("it is told", || sidecar.stderr().contains("the store has other terms than the file"));
    fs::write(&file, "nonsense").unwrap();
    sidecar.signal("HUP");
    wait_until("it is told", || sidecar.stderr().contains("SIGHUP, and is refused"));
    assert_eq!(team_ids(&client).await, ["first", "second"]);
}
