//! Which client may ask for which teams.

use tollgate::proto::v1::{
    BeginRunRequest, CommitRequest, EndRunRequest, ExtendRequest, GetReservationRequest, ReleaseRequest,
};
use tower::ServiceExt as _;

use super::*;

const URI: &str = "spiffe://acme/executor";

async fn scene() -> Scene {
    let clients = Clients::default()
        .with("one.example", teams(&["one"]))
        .with(URI, teams(&["two", "absent"]))
        .with("everything", None);
    Scene::open_with(Some(clients), ServeOptions::default()).await
}

#[tokio::test]
async fn a_client_may_ask_for_its_teams_only() {
    let scene = scene().await;
    let may = async |client: &Pair| {
        let channel = scene.data(Some(client));
        let mut allowed = Vec::new();
        for team in ["one", "two", TEAM] {
            match reserve_for(channel.clone(), team).await {
                Ok(_) => allowed.push(team),
                Err(refused) => check(&refused, Code::PermissionDenied, "TEAM_NOT_ALLOWED"),
            }
        }
        allowed
    };
    let authority = &scene.authority;
    assert_eq!(may(&authority.client("one.example")).await, ["one"]);
    assert_eq!(may(&authority.client_of_uri(URI)).await, ["two"]);
    assert_eq!(may(&authority.client_of_common_name("everything")).await, ["one", "two", TEAM]);
    assert_eq!(may(&authority.client("stranger.example")).await, [""; 0]);
    // DNS names, URIs and common names count alike: the authority is responsible for all of them.
    assert_eq!(may(&authority.client("ONE.example")).await, ["one"]);
}

#[tokio::test]
async fn a_refusal_does_not_reveal_whether_a_team_exists() {
    let scene = scene().await;
    let channel = scene.data(Some(&scene.authority.client("one.example")));
    let there = reserve_for(channel.clone(), "two").await.unwrap_err();
    let not_there = reserve_for(channel.clone(), "absent").await.unwrap_err();
    assert_eq!(format!("{:?}", (there.code(), there.message(), there.details())), {
        format!("{:?}", (not_there.code(), not_there.message(), not_there.details()))
    });
    // A client that may ask for the team learns that it does not exist.
    let absent = reserve_for(scene.data(Some(&scene.authority.client_of_uri(URI))), "absent").await.unwrap_err();
    check(&absent, Code::NotFound, "TEAM_NOT_FOUND");
}

/// Every call is refused for another team, on the fast path and through tonic.
#[tokio::test]
async fn every_call_checks_the_team_on_both_paths() {
    let scene = scene().await;
    let channel = scene.data(Some(&scene.authority.client("one.example")));
    let by_tonic = channel.clone().map_request(through_tonic);
    macro_rules! refused {
        ($client:expr) => {{
            let mut client = $client;
            let (team_id, reservation_id) = (|| "two".to_owned(), || "r".to_owned());
            let settle = ReleaseRequest { team_id: team_id(), reservation_id: reservation_id(), ..Default::default() };
            let commit = CommitRequest { team_id: team_id(), reservation_id: reservation_id(), ..Default::default() };
            let extend = ExtendRequest { team_id: team_id(), reservation_id: reservation_id(), ..Default::default() };
            let get = GetReservationRequest { team_id: team_id(), reservation_id: reservation_id() };
            let begin = BeginRunRequest { team_id: team_id(), flow_id: "f".to_owned(), run_id: "r".to_owned() };
            let end = EndRunRequest { team_id: team_id(), run_id: "r".to_owned() };
            [
                client.check_and_reserve(prompt_test("two", "r", "gpt-4o")).await.unwrap_err(),
                client.commit(commit).await.unwrap_err(),
                client.release(settle).await.unwrap_err(),
                client.extend(extend).await.unwrap_err(),
                client.get_reservation(get).await.unwrap_err(),
                client.begin_run(begin).await.unwrap_err(),
                client.end_run(end).await.unwrap_err(),
            ]
        }};
    }
    for refused in
        refused!(QuotaServiceClient::new(channel)).iter().chain(&refused!(QuotaServiceClient::new(by_tonic.clone())))
    {
        check(refused, Code::PermissionDenied, "TEAM_NOT_ALLOWED");
    }
    let own = QuotaServiceClient::new(by_tonic).check_and_reserve(prompt_test("one", "r", "gpt-4o")).await;
    own.unwrap();
}
