//! Tests of a configuration that changes while a sidecar serves.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use tempfile::TempDir;
use tollgate::proto::v1::ListTeamsRequest;

use crate::suite::support::{
    client::{Client, prompt_test, until_answered},
    sidecar::Sidecar,
    wait_for, wait_until,
};

/// Returns a configuration with these teams.
fn file_with(teams: &[&str], more: &str) -> String {
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

/// Waits until the store has exactly these teams.
async fn has_teams(client: &Client, teams: &[&str]) {
    wait_for("the teams", || async { (team_ids(client).await == teams).then_some(()) }).await;
}

/// Returns whether decisions are logged. They are at level debug.
async fn logs_decisions(sidecar: &Sidecar) -> bool {
    let before = sidecar.stderr().matches("decision=").count();
    sidecar.client().proceed(prompt_test("first", "", "gpt-4o")).await;
    sidecar.stderr().matches("decision=").count() > before
}

/// Replaces a symbolic link, as the kubelet does when a ConfigMap changes.
fn replace_link(directory: &Path, text: &str, version: &str) {
    fs::create_dir(directory.join(version)).unwrap();
    fs::write(directory.join(version).join("tollgate.toml"), text).unwrap();
    symlink(version, directory.join("..data.new")).unwrap();
    fs::rename(directory.join("..data.new"), directory.join("..data")).unwrap();
}

/// A changed file is reloaded. If it is not valid, the log has the problems, and the previous version stays.
#[tokio::test]
async fn a_changed_file_is_reloaded_if_it_is_valid() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    replace_link(directory.path(), &file_with(&["first"], "log = \"info\""), "v1");
    symlink("..data/tollgate.toml", directory.path().join("tollgate.toml")).unwrap();
    let sidecar = start(&directory);
    let client = sidecar.client();
    assert_eq!(team_ids(&client).await, ["first"]);
    assert!(!logs_decisions(&sidecar).await);

    replace_link(directory.path(), &file_with(&["first", "second"], "log = \"debug\"\nmax_calls = 77"), "v2");
    has_teams(&client, &["first", "second"]).await;
    assert!(logs_decisions(&sidecar).await);
    assert!(sidecar.stderr().contains("changed settings take effect at the next start settings=\"max_calls\""));

    replace_link(directory.path(), &file_with(&["first", "second", "third"], "log = \"loud\"\nmax_cals = 1"), "v3");
    wait_until("the file is rejected", || sidecar.stderr().contains("reloading the configuration failed"));
    let log = sidecar.stderr();
    for reason in ["invalid value `loud`", "did you mean max_calls?"] {
        assert!(log.contains(reason), "{log}");
    }
    assert_eq!(team_ids(&client).await, ["first", "second"]);
    assert!(logs_decisions(&sidecar).await, "the old level stays");

    fs::remove_file(directory.path().join("tollgate.toml")).unwrap();
    wait_until("the loss is reported", || sidecar.stderr().contains("the file is gone"));
    assert!(logs_decisions(&sidecar).await);
}

#[tokio::test]
async fn sighup_reloads_the_configuration() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("tollgate.toml");
    fs::write(&file, file_with(&["first"], "")).unwrap();
    let sidecar = start(&directory);
    let client = sidecar.client();
    // The seed does not change a team that the store already has.
    fs::write(&file, file_with(&["first", "second"], "").replacen("\"free\"", "\"basic\"", 1)).unwrap();
    sidecar.signal("HUP");
    wait_until("the reload is logged", || sidecar.stderr().contains("configuration reloaded cause=\"SIGHUP\""));
    has_teams(&client, &["first", "second"]).await;
    wait_until("the difference is logged", || sidecar.stderr().contains("a configured team differs from the store"));
    fs::write(&file, "nonsense").unwrap();
    sidecar.signal("HUP");
    let failed = "reloading the configuration failed; keeping the previous version cause=\"SIGHUP\"";
    wait_until("the failure is logged", || sidecar.stderr().contains(failed));
    assert_eq!(team_ids(&client).await, ["first", "second"]);
}
