//! Clients that do not wait: a deadline is honoured, and a Commit is carried out though its client went away.

use std::time::Duration;

use tollgate::{
    domain::policy::Policy,
    proto::v1::{Basis::Allotment, ReservationState},
    store::StoreLocation,
};
use tonic::{Code, Request};

use super::{
    super::support::{
        proxy::Proxy,
        servers::{Engine, Server},
        wait_until,
    },
    stage::{MORNING, Stage, free, is_from_leases, stories},
};

stories! {
    on stores of their own:
    a_deadline_is_honoured,
    a_commit_of_a_vanished_client_is_carried_out,
}

/// An id that can be found in what a sidecar sends to its store.
const RESERVATION: &str = "left-behind";

/// A Redis server that can be told to do nothing for a while, and a way to it that tells what was sent.
struct SlowStore {
    server: Server,
    proxy: Proxy,
}

impl SlowStore {
    fn start() -> Self {
        let server = Server::start_on_port(Engine::Redis, &["--appendonly", "no"]);
        let proxy = Proxy::to(server.port());
        Self { server, proxy }
    }

    fn location(&self) -> StoreLocation {
        StoreLocation::Redis(format!("redis://127.0.0.1:{}", self.proxy.port))
    }

    /// What is asked from now on is done after [`Self::resume`].
    fn pause(&self) {
        redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut self.server.connect()).unwrap();
    }

    fn resume(&self) {
        redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut self.server.connect()).unwrap();
    }
}

fn a_deadline_is_honoured() {
    let store = SlowStore::start();
    let stage = Stage::empty(&store.location(), MORNING, Policy::default());
    stage.put(free());
    store.pause();
    let mut request = Request::new(stage.reserve("r1").request);
    request.set_timeout(Duration::from_millis(50));
    let refused = stage.wait_for(stage.quota.clone().check_and_reserve(request)).unwrap_err();
    // The sidecar gives up a little earlier than the client does, which on a busy machine may be first all the same.
    match refused.code() {
        Code::Unavailable => assert!(refused.message().contains("deadline"), "{refused}"),
        other => assert!(matches!(other, Code::DeadlineExceeded | Code::Cancelled), "{refused}"),
    }

    store.resume();
    stage.reserve("r2").proceeds(25, Allotment);
}

fn a_commit_of_a_vanished_client_is_carried_out() {
    let store = SlowStore::start();
    let first = Stage::empty(&store.location(), MORNING, Policy::default());
    first.put(free());
    let granted = first.reserve(RESERVATION).proceeds(25, Allotment);
    assert_eq!(first.state_of(RESERVATION), ReservationState::Open);

    // Another sidecar knows nothing of the reservation, so that it has to read it first and to write only then. One that was opened
    // from a lease has no record that it could read, and comes with its grant.
    let second = Stage::empty(&store.location(), MORNING, Policy::default());
    let mut request = second.commit(RESERVATION).without_grant().request;
    if is_from_leases() {
        request.grant = granted.grant;
    }
    let seen = store.proxy.times_sent(RESERVATION);
    assert!(seen > 0, "the store is asked by the reservation's key");
    store.pause();
    let mut client = second.quota.clone();
    let commit = second.start(async move { client.commit(request).await });
    wait_until("the sidecar has asked the store", || store.proxy.times_sent(RESERVATION) > seen);
    commit.abort();
    assert!(second.wait_for(commit).unwrap_err().is_cancelled());

    store.resume();
    wait_until("the commit is carried out", || first.state_of(RESERVATION) == ReservationState::Committed);
    first.balance().used(25).held(0);
}
