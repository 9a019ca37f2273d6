//! Metrics of refused calls.

use tower::ServiceExt as _;

use super::*;
use crate::suite::probes::{scrape, value};

/// A call that is refused is counted by its reason, on the fast path and through tonic.
// Multi-threaded, because a scrape blocks while it waits for the sidecar in this process.
#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_counted_by_reason_on_both_paths() {
    let clients = Clients::default().with("right.example", teams(&["one"]));
    let probe = Some("127.0.0.1:0".parse().unwrap());
    let scene = Scene::open_with(Some(clients), ServeOptions { probe, ..ServeOptions::default() }).await;
    let probe = scene.sidecar.probe_address().unwrap().to_string();
    let counted = || {
        let scraped = scrape(&probe);
        let reasons = ["token_missing", "token_wrong", "team_not_allowed"];
        reasons.map(|reason| value(&scraped, &format!("tollgate_calls_refused_total{{reason=\"{reason}\"}}")))
    };
    assert_eq!(counted(), [0.0; 3]);
    let (data, admin) = (scene.data(Some(&scene.right())), scene.admin(Some(&scene.right())));
    list_teams(admin.clone(), None).await.unwrap_err();
    assert_eq!(counted(), [1.0, 0.0, 0.0]);
    list_teams(admin.clone(), Some("Bearer x")).await.unwrap_err();
    assert_eq!(counted(), [1.0, 1.0, 0.0]);
    reserve_for(data.clone(), "two").await.unwrap_err();
    assert_eq!(counted(), [1.0, 1.0, 1.0]);
    let mut by_tonic = QuotaServiceClient::new(data.clone().map_request(through_tonic));
    by_tonic.check_and_reserve(prompt_test("two", "r", "gpt-4o")).await.unwrap_err();
    assert_eq!(counted(), [1.0, 1.0, 2.0]);

    list_teams(admin, Some(&format!("Bearer {TOKEN}"))).await.unwrap();
    reserve_for(data, "one").await.unwrap();
    by_tonic.check_and_reserve(prompt_test("one", "r", "gpt-4o")).await.unwrap();
    assert_eq!(counted(), [1.0, 1.0, 2.0]);
}
