//! `tollgate usage` and `tollgate charges`: sums over all pages, as text and as JSON.

use futures::{StreamExt as _, stream};
use serde_json::json;
use tollgate::{proto::v1::CheckAndReserveRequest, store::StoreLocation};

use super::{json, text};
use crate::suite::support::{
    client::{Client, block, professional_team, prompt_test},
    sidecar::Sidecar,
};

const TEAM: &str = "team";

/// Reserves credits for a call and commits them.
async fn commit(client: &Client, request: CheckAndReserveRequest) {
    let proceed = client.proceed(request.clone()).await;
    client.commit(&request.team_id, &request.reservation_id, &proceed.grant).await.unwrap();
}

#[tokio::test]
async fn usage_shows_the_bar_the_shares_and_the_cycle() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    client.put_team(professional_team(TEAM, 60)).await;
    commit(&client, block(TEAM, "r1", "gpt-4")).await;
    commit(&client, prompt_test(TEAM, "r2", "gpt-3.5")).await;
    client.proceed(block(TEAM, "r3", "gpt-4o-mini")).await;
    // The remaining credits do not cover this call, so all of it is run completion.
    commit(&client, block(TEAM, "r4", "gpt-4")).await;

    let picture = text(&sidecar, &["usage", TEAM]);
    for line in [
        "team: professional, a paid seat",
        "  █ used                           30    50.0 %",
        "  ▒ held                           15    25.0 %  by calls in flight",
        "  ░ remaining                      15    25.0 %",
        "  ▓ run completion                 25    41.7 %  past the limit, by runs that were current",
        "  ▚ above hold                      0     0.0 %",
        "    allotment                      60            60 included",
        "overages: off",
        "prompt tests: 1 call, 5 credits (9.1 % of all committed credits)",
        "│ gpt-4   ┆     2 ┆     2 ┆      50 ┆ 90.9 % ┆ ██████████████████▏ │",
        "│ gpt-3.5 ┆     1 ┆     1 ┆       5 ┆  9.1 % ┆ █▉                  │",
    ] {
        assert!(picture.lines().any(|other| other == line), "{line}\n{picture}");
    }
    assert!(picture.lines().nth(1).unwrap().contains("(UTC), ends in "), "{picture}");

    let mut numbers = json(&sidecar, &["usage", TEAM]);
    let days = numbers["days"].take();
    let counts = |calls: i64, credits: i64| json!({ "calls": calls, "units": calls, "credits": credits });
    let named = |key: &str, name: &str, calls: i64, credits: i64| {
        let mut counts = counts(calls, credits);
        counts[key] = name.into();
        counts
    };
    let (start, end) = (numbers["cycle_start"].clone(), numbers["cycle_end"].clone());
    assert!(start.as_str().unwrap().ends_with("-01T00:00:00Z") && end.as_str() > start.as_str());
    assert_eq!(days.as_array().unwrap().iter().map(|day| day["credits"].as_i64().unwrap()).sum::<i64>(), 55);
    let expected = json!({
        "team_id": TEAM, "plan": "professional", "paid_seat": true, "cycle_start": start, "cycle_end": end,
        "allotment": 60, "included": 60, "waived": 0, "overage": 0, "overage_blocks": 0, "used": 30,
        "run_completion": 25, "above_hold": 0, "held": 15, "remaining": 15, "overages_enabled": false,
        "overage_cap_blocks": null, "next_rate_card": null, "total": counts(3, 55), "tests": counts(1, 5),
        "days": null, "models": [named("model", "gpt-3.5", 1, 5), named("model", "gpt-4", 2, 50)],
        "flows": [named("flow_id", "flow", 3, 55)], "other_flows": counts(0, 0),
    });
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn usage_rows_of_several_pages_are_all_counted() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    client.put_team(professional_team(TEAM, 100_000)).await;
    let calls = stream::iter(0..1_050).map(|number| {
        let (flow_id, run_id) = (format!("flow-{number:04}"), format!("run-{number}"));
        commit(&client, CheckAndReserveRequest { flow_id, run_id, ..block(TEAM, &format!("r{number}"), "gpt-4o") })
    });
    calls.buffer_unordered(64).collect::<Vec<()>>().await;
    commit(&client, CheckAndReserveRequest { flow_id: "flow-0700".to_owned(), ..prompt_test(TEAM, "t", "gpt-4") })
        .await;

    let numbers = json(&sidecar, &["usage", TEAM]);
    assert_eq!((&numbers["total"]["calls"], &numbers["total"]["credits"]), (&1_051.into(), &2_125.into()));
    assert_eq!(numbers["used"], 2_125);
    assert_eq!(numbers["flows"].as_array().unwrap().len(), 100);
    let first = &numbers["flows"][0];
    assert_eq!((&first["flow_id"], &first["credits"]), (&"flow-0700".into(), &27.into()));
    assert_eq!(numbers["other_flows"]["calls"], 950);
    let picture = text(&sidecar, &["usage", TEAM]);
    assert!(picture.contains("│ all others ┆ 1,045 ┆ 1,045 ┆   2,090 ┆ 98.4 % ┆"), "{picture}");
}

#[tokio::test]
async fn charged_blocks_are_listed_with_their_sum() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    for team in [TEAM, "another"] {
        client.put_team(professional_team(team, 0)).await;
        client.set_overages(team, true, Some(5)).await;
    }
    let images = CheckAndReserveRequest { units: 300, ..block(TEAM, "r1", "dall-e-3") };
    commit(&client, images).await;
    commit(&client, block("another", "r1", "gpt-4")).await;

    let table = text(&sidecar, &["charges"]);
    assert!(table.ends_with("3 blocks, 3,000 credits\n"), "{table}");
    let cycle = json(&sidecar, &["usage", TEAM])["cycle_start"].as_str().unwrap()[..10].to_owned();
    for block in ["another/CYCLE/1", "team/CYCLE/1", "team/CYCLE/2"] {
        assert!(table.contains(&block.replace("CYCLE", &cycle)), "{table}");
    }
    let of_team = json(&sidecar, &["charges", TEAM, "--cycle", &cycle]);
    assert_eq!((&of_team["total_blocks"], &of_team["total_credits"]), (&2.into(), &2_000.into()));
    let first = &of_team["charges"][0];
    assert_eq!(first["charge_id"], format!("team/{cycle}/1"));
    assert_eq!((&first["block"], &first["credits"], &first["team_id"]), (&1.into(), &1_000.into(), &TEAM.into()));
    assert_eq!(first["cycle_start"], format!("{cycle}T00:00:00Z"));
    let none = text(&sidecar, &["charges", TEAM, "--cycle", "2020-01-01"]);
    assert_eq!(none, "0 blocks, 0 credits\n");
    let picture = text(&sidecar, &["usage", TEAM]);
    assert!(picture.contains("overages: on, at most 5 blocks; 2 blocks bought in this cycle\n"), "{picture}");
}
