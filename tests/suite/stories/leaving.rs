//! Clients that do not wait: a deadline is honoured, and a commit is carried out even if its client goes away.

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

/// Reservation id that the tests search for in the requests to the store.
const RESERVATION: &str = "left-behind";

/// A Redis server that can be paused, behind a proxy that records the requests.
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

    /// Delays all further writes until [`Self::resume`].
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
    // The sidecar gives up a little earlier than the client. On a busy machine the client may still be first.
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

    // A second sidecar does not know the reservation, so it must read the record before it writes. A reservation from a lease
    // has no record to read, so the commit carries its grant.
    let second = Stage::empty(&store.location(), MORNING, Policy::default());
    let mut request = second.commit(RESERVATION).without_grant().request;
    if is_from_leases() {
        request.grant = granted.grant;
    }
    let seen = store.proxy.times_sent(RESERVATION);
    assert!(seen > 0, "requests to the store contain the id of the reservation");
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
