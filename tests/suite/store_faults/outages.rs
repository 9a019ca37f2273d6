//! Every way in which a server can be away. The first calls fail within their timeout, later ones at once; and calls
//! are served within two seconds of the server's return, without a restart.

use std::time::Duration;

use tollgate::{
    store::{StoreHealth, StoreOptions},
    transaction::{Scope, Transaction},
};

use super::stage::{Stage, TEAM, asks_to_repeat, now_ms};
use crate::suite::support::{
    client::{block, until_answered},
    servers::Engine,
    signal,
};

const BOTH: [Engine; 2] = [Engine::Redis, Engine::Valkey];

/// What the store still serves during an outage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Nothing,
    Reads,
}

/// Runs one outage, from `begin` to `end`, and checks that nothing is lost that was answered before it.
async fn survives(mut stage: Stage, served: Served, begin: impl Fn(&mut Stage), end: impl Fn(&mut Stage)) {
    let granted = stage.client.proceed(block(TEAM, "before", "gpt-4")).await;

    begin(&mut stage);
    stage.is_lost().await;
    stage.refuses_at_once().await;
    let commit = stage.client.commit(TEAM, "before", &granted.grant).await;
    asks_to_repeat(&commit.unwrap_err());
    match (served, stage.health()) {
        (Served::Nothing, StoreHealth::Down { .. }) => {}
        (Served::Reads, StoreHealth::RefusesChanges { .. }) => {
            assert_eq!(stage.client.books(TEAM).await.balance.used, 0);
        }
        (_, other) => panic!("{other:?}"),
    }

    end(&mut stage);
    stage.serves_again().await;
    // The first commit may fail although it was carried out, and is then a repeat.
    for is_a_repeat in [false, true] {
        let commit = until_answered("a commit", || stage.client.commit(TEAM, "before", &granted.grant)).await;
        assert_eq!((commit.credits, commit.replayed || !is_a_repeat), (25, true));
    }
    assert_eq!(stage.client.books(TEAM).await.balance.used, 25);
}

#[tokio::test]
async fn a_server_that_hangs() {
    for engine in BOTH {
        let [stop, resume] =
            ["STOP", "CONT"].map(|name| move |stage: &mut Stage| signal(stage.server.process_id(), name));
        survives(Stage::set(engine).await, Served::Nothing, stop, resume).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_restarted() {
    for engine in BOTH {
        let (kill, restart) = (|stage: &mut Stage| stage.server.kill(), |stage: &mut Stage| stage.server.restart());
        survives(Stage::set(engine).await, Served::Nothing, kill, restart).await;
    }
}

#[tokio::test]
async fn a_server_slower_than_the_timeout() {
    let [slow, quick] = [400, 0].map(|ms| move |stage: &mut Stage| stage.proxy.delay(Duration::from_millis(ms)));
    survives(Stage::set(Engine::Redis).await, Served::Nothing, slow, quick).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_and_refused() {
    let [refuse, accept] = [true, false].map(|refusing| move |stage: &mut Stage| stage.proxy.refuse(refusing));
    survives(Stage::set(Engine::Redis).await, Served::Nothing, refuse, accept).await;
}

#[tokio::test]
async fn a_connection_that_passes_nothing() {
    let [hold, let_go] = [true, false].map(|held| move |stage: &mut Stage| stage.proxy.hold(held));
    survives(Stage::set(Engine::Redis).await, Served::Nothing, hold, let_go).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica() {
    for engine in BOTH {
        let demote = |stage: &mut Stage| stage.command(&["REPLICAOF", "127.0.0.1", "1"]);
        let promote = |stage: &mut Stage| stage.command(&["REPLICAOF", "NO", "ONE"]);
        survives(Stage::set(engine).await, Served::Nothing, demote, promote).await;
    }
}

#[tokio::test]
async fn a_server_whose_password_changed() {
    for engine in BOTH {
        let change = |stage: &mut Stage| {
            stage.command(&["CONFIG", "SET", "requirepass", "another"]);
            stage.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        };
        let restore = |stage: &mut Stage| stage.command(&["CONFIG", "SET", "requirepass", ""]);
        survives(Stage::set(engine).await, Served::Nothing, change, restore).await;
    }
}

#[tokio::test]
async fn a_server_that_accepts_no_more_connections() {
    let fill = |stage: &mut Stage| {
        stage.command(&["CONFIG", "SET", "maxclients", "1"]);
        stage.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    let empty = |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxclients", "100"]);
    survives(Stage::set(Engine::Redis).await, Served::Nothing, fill, empty).await;
}

#[tokio::test]
async fn a_server_that_starts_to_evict() {
    for engine in BOTH {
        let [evict, keep] = ["allkeys-lru", "noeviction"]
            .map(|policy| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxmemory-policy", policy]));
        survives(Stage::set(engine).await, Served::Nothing, evict, keep).await;
    }
}

#[tokio::test]
async fn a_server_that_drops_the_required_aof() {
    let options = StoreOptions { require_aof: true, ..StoreOptions::default() };
    let [drop, keep] =
        ["no", "yes"].map(|kept| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "appendonly", kept]));
    survives(Stage::set_with(Engine::Redis, options).await, Served::Nothing, drop, keep).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script() {
    let begin = |stage: &mut Stage| {
        stage.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
        let mut connection = stage.server.connect();
        // This call fails because its script is killed.
        std::thread::spawn(move || {
            let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection);
        });
    };
    let kill = |stage: &mut Stage| stage.command(&["SCRIPT", "KILL"]);
    survives(Stage::set(Engine::Redis).await, Served::Nothing, begin, kill).await;
}

#[tokio::test]
async fn a_server_whose_memory_is_full() {
    for engine in BOTH {
        let [fill, empty] =
            ["1", "0"].map(|bytes| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxmemory", bytes]));
        survives(Stage::set(engine).await, Served::Reads, fill, empty).await;
    }
}

#[tokio::test]
async fn a_full_server_that_is_then_set_to_evict() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.command(&["CONFIG", "SET", "maxmemory", "1"]);
    stage.is_lost().await;
    // This policy evicts only keys with an expiry, and there are none yet. So nothing is lost, and the server accepts
    // writes.
    stage.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    stage.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let mut health = stage.store.health();
    let refused =
        health.wait_for(|health| matches!(health, StoreHealth::Down { reason, .. } if reason.contains("evict")));
    assert!(tokio::time::timeout(Duration::from_secs(2), refused).await.is_ok(), "the server is used");
    assert!(stage.is_refused().await);
    stage.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    stage.serves_again().await;
}

#[tokio::test]
async fn a_server_that_has_too_few_replicas() {
    let [demand, relax] = ["1", "0"]
        .map(|least| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "min-replicas-to-write", least]));
    survives(Stage::set(Engine::Redis).await, Served::Reads, demand, relax).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_snapshots() {
    let snapshot = |stage: &mut Stage, status: &str| {
        stage.command(&["CONFIG", "SET", "save", "3600 1"]);
        stage.command(&["BGSAVE"]);
        stage.wait_until_reported("rdb_last_bgsave_status", status);
    };
    let fail = |stage: &mut Stage| {
        // The server cannot replace a directory by its snapshot.
        std::fs::create_dir(stage.server.path("dump.rdb")).unwrap();
        snapshot(stage, "err");
    };
    let succeed = |stage: &mut Stage| {
        std::fs::remove_dir(stage.server.path("dump.rdb")).unwrap();
        snapshot(stage, "ok");
    };
    survives(Stage::set(Engine::Redis).await, Served::Reads, fail, succeed).await;
}

/// A server that answers more slowly than the timeout is not used again.
#[tokio::test]
async fn a_slow_server_is_not_taken_for_recovered() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.proxy.delay(Duration::from_millis(400));
    stage.is_lost().await;
    let mut health = stage.store.health();
    health.wait_for(|health| !health.is_up()).await.unwrap();
    // This is long enough for attempts to reconnect that succeed up to their last step.
    let back = tokio::time::timeout(Duration::from_secs(4), health.wait_for(|health| health.is_up())).await;
    assert!(back.is_err(), "a server that is too slow is used");
    stage.proxy.delay(Duration::ZERO);
    stage.serves_again().await;
}

/// An outage and its end are noticed although there are no calls; and during the outage, a call fails at once.
#[tokio::test]
async fn an_outage_without_calls_is_noticed() {
    let Stage { server, proxy: _proxy, store, sidecar, .. } = Stage::set(Engine::Redis).await;
    sidecar.shutdown().await;
    let health = store.health();
    signal(server.process_id(), "STOP");
    let within = |seconds, up| {
        let mut health = health.clone();
        async move {
            let turned = health.wait_for(|health| health.is_up() == up);
            tokio::time::timeout(Duration::from_secs(seconds), turned).await.is_ok()
        }
    };
    assert!(within(3, false).await, "the outage was not noticed");
    let begun_ms = now_ms();
    for _ in 0..1_000 {
        assert!(store.transact(Transaction::on(Scope::new(TEAM))).await.is_err());
    }
    let took_ms = now_ms() - begun_ms;
    signal(server.process_id(), "CONT");
    assert!(took_ms < 1_000 * 250 / 10, "1,000 refusals took {took_ms} ms");
    assert!(within(2, true).await, "the return was not noticed");
}

#[tokio::test]
async fn a_flushed_script_is_no_outage() {
    for engine in BOTH {
        let mut stage = Stage::set(engine).await;
        let health = stage.store.health();
        for _ in 0..5 {
            stage.command(&["SCRIPT", "FLUSH"]);
            assert!(!stage.is_refused().await);
        }
        assert!(!health.has_changed().unwrap(), "{:?}", stage.health());
    }
}
