//! UNAVAILABLE: the sidecar is draining, or its store is away. A client repeats the call with the same id.

use tollgate::{
    domain::policy::Policy,
    proto::v1::{Basis::Allotment, ReservationState::Open},
};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use super::{
    super::support::{
        servers::{Engine, Server},
        wait_until,
    },
    stage::{MORNING, Stage, Verb as _, check_refusal, free, is_from_leases, stories},
};

stories! {
    on stores of their own:
    a_draining_sidecar_only_settles,
    without_its_store_a_sidecar_neither_proceeds_nor_suspends,
}

/// Checks that the error says when to repeat the call.
#[track_caller]
fn asks_to_repeat(status: &Status, reason: &str) {
    check_refusal(status, Code::Unavailable, reason);
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(wait.is_some_and(|wait| !wait.is_zero()), "{status:?}");
}

/// A draining sidecar refuses new reservations and runs, and still settles the existing ones.
fn a_draining_sidecar_only_settles() {
    let stage = Stage::set(free());
    for id in ["committed", "released", "extended"] {
        stage.reserve(id).proceeds(25, Allotment);
    }
    stage.wait_for(stage.sidecar.begin_drain());
    asks_to_repeat(&stage.reserve("new").ask().unwrap_err(), "DRAINING");
    asks_to_repeat(&stage.begin_run("new").ask().unwrap_err(), "DRAINING");
    for channel in [&stage.data, &stage.admin] {
        let request = HealthCheckRequest::default();
        let health = stage.wait_for(HealthClient::new(channel.clone()).check(request)).unwrap();
        assert_eq!(health.into_inner().status(), ServingStatus::NotServing);
    }
    stage.commit("committed").charges(25);
    stage.release("released").gives_back();
    stage.extend("extended", 600).holds_until("2025-06-10T09:10:00Z");
    stage.end_run("run").ends_with(25);
    stage.balance().used(25).held(25);
}

fn without_its_store_a_sidecar_neither_proceeds_nor_suspends() {
    let mut server = Server::start_durable(Engine::Redis);
    let stage = Stage::empty(&server.location(), MORNING, Policy::default());
    stage.put(free());
    stage.reserve("r1").proceeds(25, Allotment);
    server.kill();
    let unanswered = if is_from_leases() {
        // Held leases still answer calls. A larger call needs the store.
        stage.reserve("r2").proceeds(25, Allotment);
        stage.reserve("r3").units(19)
    } else {
        stage.reserve("r2")
    };
    let refusals = [
        unanswered.ask().unwrap_err(),
        stage.commit("r1").ask().unwrap_err(),
        stage.begin_run("another").ask().unwrap_err(),
        stage.usage_of(None).unwrap_err(),
    ];
    for refused in &refusals {
        asks_to_repeat(refused, "STORE_UNAVAILABLE");
        for secret in ["redis", "socket", "/tmp", "{team}"] {
            assert!(!refused.message().to_lowercase().contains(secret), "{refused}");
        }
    }

    server.restart();
    wait_until("the store answers again", || stage.usage_of(None).is_ok());
    stage.reserve("r1").replays(25, Allotment, Open);
    stage.commit("r1").charges(25);
    stage.balance().used(25).held(if is_from_leases() { 25 } else { 0 });
}
