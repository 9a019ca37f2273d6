//! A commit whose client is lost while the commit is in flight is carried out completely.

use std::time::Duration;

use tollgate::{proto::v1::CommitRequest, serve::Sidecar, store::StoreOptions};
use tonic::Request;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::stage::{Stage, TEAM};
use crate::suite::support::{
    STORE_WAIT,
    client::{Client, block, is_of_unknown_outcome},
    proxy::Proxy,
    servers::Engine,
    signal, wait_for, written_through,
};

/// A sidecar behind a proxy, a reservation that another sidecar made, and a server that is stopped. A commit without
/// the grant makes two calls to the server: one that reads the reservation, and one that changes it.
struct Scene {
    stage: Stage,
    _sidecar: Sidecar,
    proxy: Proxy,
    commit: Request<CommitRequest>,
    client: Client,
}

impl Scene {
    async fn set() -> Self {
        let options = StoreOptions { wait: STORE_WAIT, ..StoreOptions::default() };
        let stage = Stage::set_with(Engine::Redis, options).await;
        let sidecar = Sidecar::start_with(stage.store.clone(), written_through()).await.unwrap();
        let (data, admin) = (sidecar.listen_address().to_string(), sidecar.admin_address().to_string());
        let proxy = Proxy::to(data.rsplit(':').next().unwrap().parse().unwrap());
        let client = Client::of(&format!("127.0.0.1:{}", proxy.port), &admin);
        stage.client.proceed(block(TEAM, "id", "gpt-4")).await;
        signal(stage.server.process_id(), "STOP");
        let (team_id, reservation_id) = (TEAM.to_owned(), "id".to_owned());
        let commit = Request::new(CommitRequest { team_id, reservation_id, ..CommitRequest::default() });
        Self { stage, _sidecar: sidecar, proxy, commit, client }
    }

    /// Waits until the commit was sent to the server: it is the second call about this reservation.
    async fn is_in_flight(&self) {
        let sent = || async { (self.stage.proxy.times_sent("{team}:reservation:id") >= 2).then_some(()) };
        wait_for("the commit to be sent to the server", sent).await;
    }

    /// Continues the server, and checks that the commit is charged although no client repeats it.
    async fn proves_charged(self) {
        signal(self.stage.server.process_id(), "CONT");
        let charged = || async {
            let balance = self.stage.client.books(TEAM).await.balance;
            ((balance.used, balance.held) == (25, 0)).then_some(())
        };
        wait_for("the commit to be charged", charged).await;
    }
}

#[tokio::test]
async fn a_commit_whose_client_cancelled_it_is_carried_out() {
    let mut scene = Scene::set().await;
    let commit = std::mem::take(scene.commit.get_mut());
    let mut quota = scene.client.quota.clone();
    // Dropping the call resets its stream. The connection stays open.
    let calling = tokio::spawn(async move { quota.commit(commit).await });
    scene.is_in_flight().await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    // A connection keeps the order of frames: when this call is answered, the reset has arrived.
    let mut health = HealthClient::new(scene.client.data.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
    scene.proves_charged().await;
}

#[tokio::test]
async fn a_commit_whose_clients_connection_broke_is_carried_out() {
    let mut scene = Scene::set().await;
    let commit = std::mem::take(scene.commit.get_mut());
    let mut quota = scene.client.quota.clone();
    let calling = tokio::spawn(async move { quota.commit(commit).await });
    scene.is_in_flight().await;
    scene.proxy.cut();
    assert!(calling.await.unwrap().is_err());
    scene.proves_charged().await;
}

#[tokio::test]
async fn a_commit_whose_deadline_passed_is_carried_out() {
    let mut scene = Scene::set().await;
    let mut commit = Request::new(std::mem::take(scene.commit.get_mut()));
    commit.set_timeout(Duration::from_millis(1_000));
    let mut quota = scene.client.quota.clone();
    let calling = tokio::spawn(async move { quota.commit(commit).await });
    scene.is_in_flight().await;
    let status = calling.await.unwrap().unwrap_err();
    assert!(is_of_unknown_outcome(&status), "{status:?}");
    scene.proves_charged().await;
}
