//! `tollgate replay` as a process, against real sidecar processes on every kind of store. Its report agrees with the sidecar's
//! usage, even if the sidecar or the store is killed during the replay.

use std::process::{Command, Output};

use serde_json::Value;
use tollgate::store::StoreLocation;

use crate::suite::support::{
    client::Client,
    kept::Kept,
    servers::{Engine, Server},
    sidecar::{Sidecar, run, tollgate},
    wait_for,
};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/azure_llm_2023_code_excerpt.csv");

const TEAMS: usize = 8;

/// Number of calls in the excerpt, and their cost: 172 at 5, 190 at 2, 132 at 15 and 106 at 25 credits.
const CALLS: i64 = 600;
const CREDITS: i64 = 5_870;

/// Included credits of a team without a seat, which is less than an eighth of the excerpt costs.
const INCLUDED_WITHOUT_SEAT: i64 = 500;

/// Price of the most expensive call.
const MAX_PRICE: i64 = 25;

#[tokio::test]
async fn the_whole_excerpt_is_charged_in_memory() {
    whole_excerpt(&Sidecar::start(&StoreLocation::Memory)).await;
}

#[tokio::test]
async fn the_whole_excerpt_is_charged_on_a_file() {
    whole_excerpt(&Kept::embedded().sidecar()).await;
}

#[tokio::test]
async fn the_whole_excerpt_is_charged_on_redis() {
    let server = Server::start(Engine::Redis);
    whole_excerpt(&Sidecar::start(&server.location())).await;
}

async fn whole_excerpt(sidecar: &Sidecar) {
    assert_all_calls_proceeded(&report(&replay(sidecar, &["--paid-seat"])));
    assert_eq!(used(&sidecar.client()).await, CREDITS);
    // A second replay, with text output, has new ids, so its calls are charged again.
    let table = replay_as_text(sidecar);
    assert!(table.contains("replay-7") && table.contains("agree"), "{table}");
    assert_eq!(used(&sidecar.client()).await, 2 * CREDITS);
}

#[test]
fn a_reader_of_the_report_that_stops_early_is_no_failure() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    for options in [&[][..], &["--json"]] {
        let mut shell = Command::new("bash");
        shell.args(["-c", "set -o pipefail; \"$@\" | true", "bash", env!("CARGO_BIN_EXE_tollgate"), "replay", TRACE]);
        let output = run(shell.args(["--addr", sidecar.data(), "--admin", sidecar.admin()]).args(options));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn teams_at_their_limit_suspend_and_their_books_agree() {
    let server = Server::start(Engine::Redis);
    let sidecar = Sidecar::start(&server.location());
    let report = report(&replay(&sidecar, &[]));
    let total = &report["total"];
    let stopped = total["suspended"]["blocks_stopped"].as_i64().unwrap();
    assert!(stopped > 0);
    assert_eq!(total["suspended"].as_object().unwrap().len(), 1, "{total}");
    assert_eq!((&total["books"], &total["failed"]), (&"agree".into(), &0.into()));
    assert_eq!(total["proceeded"].as_i64().unwrap() + stopped, CALLS);
    for team in report["teams"].as_array().unwrap() {
        let credits = team["credits"].as_i64().unwrap();
        assert!((INCLUDED_WITHOUT_SEAT - MAX_PRICE + 1..=INCLUDED_WITHOUT_SEAT).contains(&credits), "{team}");
        assert!(team["suspended"]["blocks_stopped"].as_i64().is_some(), "{team}");
    }
    assert_eq!(used(&sidecar.client()).await, total["credits"].as_i64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_survives_a_killed_sidecar_on_a_file() {
    let kept = Kept::embedded();
    let mut sidecar = kept.sidecar();
    let replaying = slow_replay(&sidecar);
    wait_for_progress(&sidecar.client()).await;
    sidecar.kill();
    sidecar.restart();
    assert_all_calls_proceeded(&report(&replaying.await.unwrap()));
    assert_eq!(used(&sidecar.client()).await, CREDITS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_survives_a_killed_redis() {
    let mut kept = Kept::durable(Engine::Redis);
    let sidecar = kept.sidecar();
    let replaying = slow_replay(&sidecar);
    wait_for_progress(&sidecar.client()).await;
    kept.server().kill();
    kept.server().restart();
    assert_all_calls_proceeded(&report(&replaying.await.unwrap()));
    assert_eq!(used(&sidecar.client()).await, CREDITS);
}

/// Starts a replay that is slow enough for a test to kill a process during it.
fn slow_replay(sidecar: &Sidecar) -> tokio::task::JoinHandle<Output> {
    let (data, admin) = (sidecar.data().to_owned(), sidecar.admin().to_owned());
    tokio::task::spawn_blocking(move || {
        let arguments = ["replay", TRACE, "--addr", &data, "--admin", &admin, "--json"];
        tollgate(&[&arguments[..], &["--paid-seat", "--ms-per-token", "2"]].concat())
    })
}

/// Waits until a part of the excerpt is committed.
async fn wait_for_progress(client: &Client) {
    let enough = || async { Some(used_if_known(client).await?).filter(|&used| used > CREDITS / 5) };
    let used = wait_for("the replay to make progress", enough).await;
    assert!(used < CREDITS, "the replay has already ended");
}

fn replay(sidecar: &Sidecar, options: &[&str]) -> Output {
    let arguments = ["replay", TRACE, "--addr", sidecar.data(), "--admin", sidecar.admin(), "--json"];
    tollgate(&[&arguments, options].concat())
}

fn replay_as_text(sidecar: &Sidecar) -> String {
    let output = tollgate(&["replay", TRACE, "--addr", sidecar.data(), "--admin", sidecar.admin()]);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the report of a replay that must have succeeded.
fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_all_calls_proceeded(report: &Value) {
    let total = &report["total"];
    assert_eq!((&total["calls"], &total["proceeded"], &total["failed"]), (&CALLS.into(), &CALLS.into(), &0.into()));
    assert_eq!((&total["credits"], &total["usage_growth"]), (&CREDITS.into(), &CREDITS.into()));
    assert_eq!((&total["books"], &report["stopped_early"]), (&"agree".into(), &false.into()));
    assert_eq!((&report["reserve"]["count"], &report["commit"]["count"]), (&CALLS.into(), &CALLS.into()));
    let teams = report["teams"].as_array().unwrap();
    assert_eq!(teams.len(), TEAMS);
    assert!(teams.iter().all(|team| team["calls"] == CALLS / TEAMS as i64 && team["books"] == "agree"));
}

/// Returns the used credits of all teams.
async fn used(client: &Client) -> i64 {
    used_if_known(client).await.unwrap()
}

/// Returns the used credits of all teams, or `None` if a team does not exist yet.
async fn used_if_known(client: &Client) -> Option<i64> {
    let mut sum = 0;
    for team in 0..TEAMS {
        let request = tollgate::proto::v1::GetUsageRequest { team_id: format!("replay-{team}"), ..Default::default() };
        sum += client.usage.clone().get_usage(request).await.ok()?.into_inner().balance?.used;
    }
    Some(sum)
}
