//! A sidecar as it ships, on a server that a test can do anything to, by a way that it can do anything to.

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

/// How long a call waits for the store, unless it is said otherwise.
const WAIT_MS: i64 = 250;

/// What an answer may take besides, on a machine that does much else.
const MARGIN_MS: i64 = 750;

/// So soon a store that is back has to be found.
const RECOVERY_MS: i64 = 2_000;

/// What is not asserted to the millisecond.
pub(super) fn now_ms() -> i64 {
    Clock::System.monotonic_ms()
}

pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    pub(super) store: Store,
    pub(super) client: Client,
    pub(super) sidecar: Sidecar,
    /// A connection of its own, for what is done to the server.
    operator: redis::Connection,
    calls: u32,
}

impl Stage {
    /// On a server that keeps what it answers, with a team.
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

    /// A command to the server, past the sidecar's way to it.
    #[track_caller]
    pub(super) fn command(&mut self, words: &[&str]) {
        redis::cmd(words[0]).arg(&words[1..]).exec(&mut self.operator).unwrap();
    }

    /// Waits until the server tells this of itself.
    pub(super) fn wait_until_told(&mut self, name: &str, value: &str) {
        wait_until("the server tells it", || {
            let info: redis::InfoDict = redis::cmd("INFO").query(&mut self.operator).unwrap();
            info.get::<String>(name).as_deref() == Some(value)
        });
    }

    /// A reserve of 2 credits with a new id.
    async fn reserve(&mut self) -> Result<(), Status> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.client.reserve(prompt_test(TEAM, &id, "gpt-4o")).await.map(drop)
    }

    /// The call is answered in time whatever is so, and if not with a decision, as a store that is away has to be.
    pub(super) async fn is_refused(&mut self) -> bool {
        let begun_ms = now_ms();
        let answer = self.reserve().await;
        let took_ms = now_ms() - begun_ms;
        assert!(took_ms <= WAIT_MS + MARGIN_MS, "it took {took_ms} ms: {answer:?}");
        let Err(status) = answer else { return false };
        asks_to_repeat(&status);
        true
    }

    /// Waits until calls are refused, which a change of the server's settings takes a while to lead to.
    pub(super) async fn is_lost(&mut self) {
        let begun_ms = now_ms();
        while !self.is_refused().await {
            assert!(now_ms() - begun_ms < 20_000, "calls are answered for ever");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Now that it is known, calls are refused without a wait.
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

    /// From now on it has two seconds.
    pub(super) async fn serves_again(&mut self) {
        let begun_ms = now_ms();
        while self.is_refused().await || !self.health().is_up() {
            let waited_ms = now_ms() - begun_ms;
            assert!(waited_ms < RECOVERY_MS, "{waited_ms} ms later: {:?}", self.health());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The refusal is that of a store that is away, says when to come again, and tells nothing of the store.
#[track_caller]
pub(super) fn asks_to_repeat(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("STORE_UNAVAILABLE"), "{status:?}");
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    assert!(!status.message().to_lowercase().contains("redis"), "{status:?}");
}
