//! A sidecar with the default settings, and a server that it reaches through a proxy. A test can break both the server
//! and the proxy.

use std::time::Duration;

use tollgate::{
    clock::Clock,
    serve::Sidecar,
    store::{Store, StoreHealth, StoreLocation, StoreOptions},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::suite::support::{
    client::{Client, prompt_test, team_without_seat},
    proxy::Proxy,
    servers::{Engine, Server},
    wait_for, wait_until, written_through,
};

pub(super) const TEAM: &str = "team";

/// The default timeout of a call to the store, in milliseconds.
const WAIT_MS: i64 = 250;

/// Time that a call may take beyond the timeout on a busy machine, in milliseconds.
const MARGIN_MS: i64 = 750;

/// Maximum time after which a store that is back is used again, in milliseconds.
const RECOVERY_MS: i64 = 2_000;

/// Returns the monotonic time in milliseconds.
pub(super) fn now_ms() -> i64 {
    Clock::System.monotonic_ms()
}

pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    pub(super) store: Store,
    pub(super) client: Client,
    pub(super) sidecar: Sidecar,
    /// A separate connection for changes of the server.
    operator: redis::Connection,
    calls: u32,
}

impl Stage {
    /// Starts a sidecar with one team on a server that writes each answer to its append-only file.
    pub(super) async fn set(engine: Engine) -> Self {
        Self::set_with(engine, StoreOptions::default()).await
    }

    pub(super) async fn set_with(engine: Engine, options: StoreOptions) -> Self {
        let server = Server::start_on_port(engine, &["--appendonly", "yes", "--appendfsync", "always"]);
        let proxy = Proxy::to(server.port());
        let location = StoreLocation::Redis(format!("redis://127.0.0.1:{}", proxy.port));
        let store = Store::open(&location, options).await.unwrap();
        let sidecar = Sidecar::start_with(store.clone(), written_through()).await.unwrap();
        let client = Client::of(&sidecar.listen_address().to_string(), &sidecar.admin_address().to_string());
        client.put_team(team_without_seat(TEAM, 1_000)).await;
        let operator = server.connect();
        Self { server, proxy, store, client, sidecar, operator, calls: 0 }
    }

    pub(super) fn health(&self) -> StoreHealth {
        *self.store.health().borrow()
    }

    /// Sends a command to the server directly, not through the proxy.
    #[track_caller]
    pub(super) fn command(&mut self, words: &[&str]) {
        redis::cmd(words[0]).arg(&words[1..]).exec(&mut self.operator).unwrap();
    }

    /// Waits until the server reports this value in INFO.
    pub(super) fn wait_until_reported(&mut self, name: &str, value: &str) {
        wait_until("the server reports it", || {
            let info: redis::InfoDict = redis::cmd("INFO").query(&mut self.operator).unwrap();
            info.get::<String>(name).as_deref() == Some(value)
        });
    }

    /// Reserves 2 credits with a new id.
    async fn reserve(&mut self) -> Result<(), Status> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.client.reserve(prompt_test(TEAM, &id, "gpt-4o")).await.map(drop)
    }

    /// Makes a call, and returns whether it failed. Checks that it is answered in time, and that a failure is the one
    /// for an unavailable store.
    pub(super) async fn is_refused(&mut self) -> bool {
        let begun_ms = now_ms();
        let answer = self.reserve().await;
        let took_ms = now_ms() - begun_ms;
        assert!(took_ms <= WAIT_MS + MARGIN_MS, "it took {took_ms} ms: {answer:?}");
        let Err(status) = answer else { return false };
        asks_to_repeat(&status);
        true
    }

    /// Waits until calls fail. After a change of the server's configuration, this takes some seconds.
    pub(super) async fn is_lost(&mut self) {
        let begun_ms = now_ms();
        while !self.is_refused().await {
            assert!(now_ms() - begun_ms < 20_000, "calls are still answered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the outage is known, and checks that calls then fail without waiting.
    pub(super) async fn refuses_at_once(&mut self) {
        let store = self.store.clone();
        wait_for("the loss to be known", || async { (!store.health().borrow().is_up()).then_some(()) }).await;
        let begun_ms = now_ms();
        for _ in 0..20 {
            assert!(self.is_refused().await);
        }
        let took_ms = now_ms() - begun_ms;
        assert!(took_ms < 20 * WAIT_MS / 2, "20 refusals took {took_ms} ms");
    }

    /// Checks that calls are served again within two seconds.
    pub(super) async fn serves_again(&mut self) {
        let begun_ms = now_ms();
        while self.is_refused().await || !self.health().is_up() {
            let waited_ms = now_ms() - begun_ms;
            assert!(waited_ms < RECOVERY_MS, "{waited_ms} ms later: {:?}", self.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Checks that an error is the one for an unavailable store, says when to retry, and does not reveal the kind of store.
#[track_caller]
pub(super) fn asks_to_repeat(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("STORE_UNAVAILABLE"), "{status:?}");
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    assert!(!status.message().to_lowercase().contains("redis"), "{status:?}");
}
