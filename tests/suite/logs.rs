//! The log as an operator reads it: one line for each decision at debug, and each change once at info, also as JSON.

use std::time::Duration;

use serde_json::Value;
use tollgate::store::StoreLocation;

use crate::suite::support::{
    client::{Client, block, professional_team, prompt_test, team_without_seat},
    sidecar::Sidecar,
    wait_for, wait_until,
};

const TEAM: &str = "team";

/// Starts a sidecar in memory that logs as JSON with this filter.
fn logging(filter: &str) -> Sidecar {
    Sidecar::start_with(&StoreLocation::Memory, &["--log", filter, "--log-format", "json"])
}

/// Returns the lines of a sidecar's log.
fn lines(sidecar: &Sidecar) -> Vec<Value> {
    sidecar.stderr().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until at least `count` lines have this field, and returns them.
fn lines_with(sidecar: &Sidecar, field: &str, count: usize) -> Vec<Value> {
    let with_field = || lines(sidecar).into_iter().filter(|line| !line["fields"][field].is_null()).collect::<Vec<_>>();
    wait_until("the lines are written", || with_field().len() >= count);
    with_field()
}

/// Returns the subject of a line, from the span of its call.
fn about(line: &Value) -> Vec<&str> {
    ["rpc", "team", "flow", "run", "reservation"].into_iter().filter_map(|field| line["span"][field].as_str()).collect()
}

/// Each decision is one line, in a span with the team, flow, run and reservation.
#[tokio::test]
async fn each_decision_is_one_line_with_its_subject() {
    let sidecar = logging("tollgate=debug");
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 10)).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    client.commit(TEAM, "first", &[]).await.unwrap();
    client.suspend(block(TEAM, "second", "gpt-4")).await;
    client.proceed(block(TEAM, "third", "gpt-4o")).await;
    client.release(TEAM, "third", &[]).await.unwrap();
    client.commit(TEAM, "nothing", &[]).await.unwrap_err();
    client.commit("{team}", "nothing", &[]).await.unwrap_err();

    let decisions = lines_with(&sidecar, "decision", 8);
    let seen: Vec<_> =
        decisions.iter().map(|line| (line["fields"]["decision"].as_str().unwrap(), about(line))).collect();
    let of_run = |id| vec!["CheckAndReserve", TEAM, "flow", "run", id];
    assert_eq!(
        seen,
        [
            ("proceed", of_run("first")),
            ("proceed", of_run("first")),
            ("committed", vec!["Commit", TEAM, "flow", "run", "first"]),
            ("suspend", of_run("second")),
            ("proceed", of_run("third")),
            ("released", vec!["Release", TEAM, "flow", "run", "third"]),
            ("refused", vec!["Commit", TEAM, "nothing"]),
            ("refused", vec![]),
        ]
    );
    assert!(decisions.iter().all(|line| line["level"] == "DEBUG"));
    let fields = |place: usize| &decisions[place]["fields"];
    assert_eq!((&fields(0)["credits"], &fields(0)["basis"]), (&2.into(), &"allotment".into()));
    assert_eq!((&fields(0)["replayed"], &fields(1)["replayed"]), (&false.into(), &true.into()));
    assert_eq!(fields(3)["reason"], "blocks_stopped");
    assert!(fields(7)["cause"].as_str().unwrap().contains("team_id"), "{}", fields(7));
}

#[tokio::test]
async fn a_suspension_is_logged_once_and_each_charge_again() {
    let sidecar = logging("info");
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 10)).await;
    for attempt in 0..5 {
        client.suspend(block(TEAM, &format!("dear-{attempt}"), "gpt-4")).await;
        spends(&client, TEAM, &format!("cheap-{attempt}"), "gpt-4o").await;
    }
    client.put_team(professional_team("rich", 30)).await;
    client.set_overages("rich", true, None).await;
    for call in ["first", "second", "third"] {
        spends(&client, "rich", call, "gpt-4").await;
    }

    let charged = lines_with(&sidecar, "first_block", 1);
    assert_eq!(charged.len(), 1);
    let fields = &charged[0]["fields"];
    assert_eq!((&fields["team"], &fields["first_block"], &fields["blocks"]), (&"rich".into(), &1.into(), &1.into()));
    let suspended = lines_with(&sidecar, "until", 1);
    assert_eq!(suspended.len(), 1, "it is logged once");
    assert_eq!((&suspended[0]["level"], &suspended[0]["fields"]["team"]), (&"INFO".into(), &TEAM.into()));
    assert!(lines_with(&sidecar, "decision", 0).is_empty(), "decisions are not shown at info");
}

/// A team that was not refused for a while has resumed, which is logged once.
#[tokio::test]
async fn a_resumed_team_is_logged_once() {
    let sidecar = logging("info");
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 10)).await;
    client.suspend(block(TEAM, "dear", "gpt-4")).await;
    let resumed = || lines_with(&sidecar, "suspended_ms", 0);
    let mut calls = 0..;
    wait_for("the team to resume", || {
        let (client, id) = (client.clone(), format!("cheap-{}", calls.next().unwrap()));
        async move {
            let granted = client.proceed(prompt_test(TEAM, &id, "gpt-4o")).await;
            client.release(TEAM, &id, &granted.grant).await.unwrap();
            // Ten seconds of calls are enough without more of them.
            tokio::time::sleep(Duration::from_millis(100)).await;
            resumed().pop()
        }
    })
    .await;
    assert_eq!(resumed().len(), 1);
    let fields = &resumed()[0]["fields"];
    assert_eq!(fields["team"], TEAM);
    assert!(fields["suspended_ms"].as_i64().unwrap() >= 10_000, "{fields}");
}

async fn spends(client: &Client, team: &str, id: &str, model: &str) {
    let proceed = client.proceed(block(team, id, model)).await;
    client.commit(team, id, &proceed.grant).await.unwrap();
}
