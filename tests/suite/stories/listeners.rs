//! Which services each listener has, and how large a request may be.

use tokio_stream::StreamExt as _;
use tollgate::proto::v1::{
    GetTeamRequest, GetUsageRequest, account_service_client::AccountServiceClient,
    quota_service_client::QuotaServiceClient, usage_service_client::UsageServiceClient,
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::stage::{Stage, TEAM, card, check_refusal, free, violated_field};

const QUOTA: &str = "tollgate.v1.QuotaService";
const ACCOUNT: &str = "tollgate.v1.AccountService";
const USAGE: &str = "tollgate.v1.UsageService";

const ON_BOTH: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

macro_rules! services_by_reflection {
    ($name:ident, $version:ident) => {
        async fn $name(channel: Channel) -> Vec<String> {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let message_request = Some(MessageRequest::ListServices(String::new()));
            let requests = tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request });
            let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await;
            let answer = answers.unwrap().into_inner().next().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("no list: {answer:?}")
            };
            let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            names
        }
    };
}

services_by_reflection!(by_reflection, v1);
services_by_reflection!(by_older_reflection, v1alpha);

/// Each listener lists its own services by both versions of reflection.
#[test]
fn each_listener_reflects_its_own_services() {
    let stage = Stage::set(free());
    let listeners = [(&stage.data, &[QUOTA][..]), (&stage.admin, &[ACCOUNT, USAGE][..])];
    for (channel, own) in listeners {
        let mut expected = [&ON_BOTH, own].concat();
        expected.sort();
        assert_eq!(stage.wait_for(by_reflection(channel.clone())), expected);
        assert_eq!(stage.wait_for(by_older_reflection(channel.clone())), expected);
    }
}

#[test]
fn each_listener_reports_health_of_its_own_services() {
    let stage = Stage::set(free());
    let health = |channel: &Channel, service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = stage.wait_for(HealthClient::new(channel.clone()).check(request));
        answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
    };
    let (data, admin) = (&stage.data, &stage.admin);
    for (channel, service) in [(data, ""), (admin, ""), (data, QUOTA), (admin, ACCOUNT), (admin, USAGE)] {
        assert_eq!(health(channel, service), Ok(ServingStatus::Serving), "{service:?}");
    }
    for (channel, service) in [(admin, QUOTA), (data, ACCOUNT), (data, USAGE)] {
        assert_eq!(health(channel, service), Err(Code::NotFound), "{service:?}");
    }
}

/// An executor cannot make the calls of operators, and the admin listener does not serve executors.
#[test]
fn each_listener_serves_only_its_own_calls() {
    let stage = Stage::set(free());
    let (data, admin) = (stage.data.clone(), stage.admin.clone());
    let quota = stage.reserve("r1").request;
    let refused = stage.wait_for(async {
        let team_id = || TEAM.to_owned();
        let get_team = GetTeamRequest { team_id: team_id() };
        let get_usage = GetUsageRequest { team_id: team_id(), ..GetUsageRequest::default() };
        [
            QuotaServiceClient::new(admin).check_and_reserve(quota).await.unwrap_err(),
            AccountServiceClient::new(data.clone()).get_team(get_team).await.unwrap_err(),
            UsageServiceClient::new(data).get_usage(get_usage).await.unwrap_err(),
        ]
    });
    for (status, place) in refused.into_iter().zip(["data listener", "admin listener", "admin listener"]) {
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().ends_with(place), "{status}");
    }
    stage.balance().held(0);
}

#[test]
fn a_request_has_at_most_64_kib() {
    let stage = Stage::set(free());
    let announce = |aliases: usize| {
        let mut card = card("v2", "2025-07-01T00:00:00Z", &[("gpt-4", 1)]);
        // Each alias takes 131 bytes: 128 of its own, a tag, and two bytes for the length.
        card.rates[0].aliases = (0..aliases).map(|number| format!("{number:0128}")).collect();
        stage.announce(card)
    };
    let too_large = announce(510).unwrap_err();
    stage.balance().next_rate_card("");
    announce(490).unwrap();
    stage.balance().next_rate_card("v2");

    let mut request = stage.reserve("r1").request;
    request.block_id = "b".repeat(64 * 1024);
    let refused = stage.wait_for(stage.quota.clone().check_and_reserve(request)).unwrap_err();
    for refused in [too_large, refused] {
        check_refusal(&refused, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(violated_field(&refused), "request");
    }
    stage.reserve("r1").proceeds(25, tollgate::proto::v1::Basis::Allotment);
}
