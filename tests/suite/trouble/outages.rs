//! Every way in which a server can be away: calls are answered in time that it is, then at once, and served again within two
//! seconds of its return, without a restart.

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

/// What is left while it lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Reads,
}

/// The story of an outage, from what begins it to what ends it: nothing that was answered before is lost by it.
async fn survives(mut stage: Stage, left: Left, begin: impl Fn(&mut Stage), end: impl Fn(&mut Stage)) {
    let granted = stage.client.proceed(block(TEAM, "before", "gpt-4")).await;

    begin(&mut stage);
    stage.is_lost().await;
    stage.refuses_at_once().await;
    let commit = stage.client.commit(TEAM, "before", &granted.grant).await;
    asks_to_repeat(&commit.unwrap_err());
    match (left, stage.health()) {
        (Left::Nothing, StoreHealth::Down { .. }) => {}
        (Left::Reads, StoreHealth::RefusesChanges { .. }) => {
            assert_eq!(stage.client.books(TEAM).await.balance.used, 0);
        }
        (_, other) => panic!("{other:?}"),
    }

    end(&mut stage);
    stage.serves_again().await;
    // The first of them may be told late that it was carried out, and is repeated then.
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
        survives(Stage::set(engine).await, Left::Nothing, stop, resume).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    for engine in BOTH {
        let (kill, restart) = (|stage: &mut Stage| stage.server.kill(), |stage: &mut Stage| stage.server.restart());
        survives(Stage::set(engine).await, Left::Nothing, kill, restart).await;
    }
}

#[tokio::test]
async fn a_server_that_is_slower_than_the_wait() {
    let [slow, quick] = [400, 0].map(|ms| move |stage: &mut Stage| stage.proxy.delay(Duration::from_millis(ms)));
    survives(Stage::set(Engine::Redis).await, Left::Nothing, slow, quick).await;
}

#[tokio::test]
async fn a_way_that_is_cut_and_refused() {
    let [refuse, accept] = [true, false].map(|refusing| move |stage: &mut Stage| stage.proxy.refuse(refusing));
    survives(Stage::set(Engine::Redis).await, Left::Nothing, refuse, accept).await;
}

#[tokio::test]
async fn a_way_that_lets_nothing_through() {
    let [hold, let_go] = [true, false].map(|held| move |stage: &mut Stage| stage.proxy.hold(held));
    survives(Stage::set(Engine::Redis).await, Left::Nothing, hold, let_go).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica() {
    for engine in BOTH {
        let demote = |stage: &mut Stage| stage.command(&["REPLICAOF", "127.0.0.1", "1"]);
        let promote = |stage: &mut Stage| stage.command(&["REPLICAOF", "NO", "ONE"]);
        survives(Stage::set(engine).await, Left::Nothing, demote, promote).await;
    }
}

#[tokio::test]
async fn a_server_whose_password_is_another_now() {
    for engine in BOTH {
        let change = |stage: &mut Stage| {
            stage.command(&["CONFIG", "SET", "requirepass", "another"]);
            stage.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        };
        let restore = |stage: &mut Stage| stage.command(&["CONFIG", "SET", "requirepass", ""]);
        survives(Stage::set(engine).await, Left::Nothing, change, restore).await;
    }
}

#[tokio::test]
async fn a_server_that_has_no_room_for_a_connection() {
    let fill = |stage: &mut Stage| {
        stage.command(&["CONFIG", "SET", "maxclients", "1"]);
        stage.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    let empty = |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxclients", "100"]);
    survives(Stage::set(Engine::Redis).await, Left::Nothing, fill, empty).await;
}

#[tokio::test]
async fn a_server_that_evicts_from_now_on() {
    for engine in BOTH {
        let [evict, keep] = ["allkeys-lru", "noeviction"]
            .map(|policy| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxmemory-policy", policy]));
        survives(Stage::set(engine).await, Left::Nothing, evict, keep).await;
    }
}

#[tokio::test]
async fn a_server_that_no_longer_keeps_the_file_that_is_required() {
    let options = StoreOptions { require_aof: true, ..StoreOptions::default() };
    let [drop, keep] =
        ["no", "yes"].map(|kept| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "appendonly", kept]));
    survives(Stage::set_with(Engine::Redis, options).await, Left::Nothing, drop, keep).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script() {
    let begin = |stage: &mut Stage| {
        stage.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
        let mut connection = stage.server.connect();
        // It is told that its script was killed, or finds nobody to tell it.
        std::thread::spawn(move || {
            let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection);
        });
    };
    let kill = |stage: &mut Stage| stage.command(&["SCRIPT", "KILL"]);
    survives(Stage::set(Engine::Redis).await, Left::Nothing, begin, kill).await;
}

#[tokio::test]
async fn a_server_whose_memory_is_full() {
    for engine in BOTH {
        let [fill, empty] =
            ["1", "0"].map(|bytes| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "maxmemory", bytes]));
        survives(Stage::set(engine).await, Left::Reads, fill, empty).await;
    }
}

#[tokio::test]
async fn a_server_whose_memory_is_full_and_that_is_let_evict_instead() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.command(&["CONFIG", "SET", "maxmemory", "1"]);
    stage.is_lost().await;
    // Only records with a purge time may go, of which there are none yet: so nothing is lost, and changes would be let in.
    stage.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    stage.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let mut health = stage.store.health();
    let refused =
        health.wait_for(|health| matches!(health, StoreHealth::Down { reason, .. } if reason.contains("evict")));
    assert!(tokio::time::timeout(Duration::from_secs(2), refused).await.is_ok(), "it is used");
    assert!(stage.is_refused().await);
    stage.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    stage.serves_again().await;
}

#[tokio::test]
async fn a_server_that_has_too_few_replicas() {
    let [demand, relax] = ["1", "0"]
        .map(|least| move |stage: &mut Stage| stage.command(&["CONFIG", "SET", "min-replicas-to-write", least]));
    survives(Stage::set(Engine::Redis).await, Left::Reads, demand, relax).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_snapshots() {
    let snapshot = |stage: &mut Stage, status: &str| {
        stage.command(&["CONFIG", "SET", "save", "3600 1"]);
        stage.command(&["BGSAVE"]);
        stage.wait_until_told("rdb_last_bgsave_status", status);
    };
    let fail = |stage: &mut Stage| {
        // A snapshot cannot be given the name of a directory.
        std::fs::create_dir(stage.server.path("dump.rdb")).unwrap();
        snapshot(stage, "err");
    };
    let succeed = |stage: &mut Stage| {
        std::fs::remove_dir(stage.server.path("dump.rdb")).unwrap();
        snapshot(stage, "ok");
    };
    survives(Stage::set(Engine::Redis).await, Left::Reads, fail, succeed).await;
}

#[tokio::test]
async fn a_server_that_answers_more_slowly_than_the_wait_is_not_taken_for_one_that_is_back() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.proxy.delay(Duration::from_millis(400));
    stage.is_lost().await;
    let mut health = stage.store.health();
    // Long enough for attempts that go well up to their last step.
    let back = tokio::time::timeout(Duration::from_secs(4), health.wait_for(|health| health.is_up())).await;
    assert!(back.is_err(), "calls are let by that will be late");
    stage.proxy.delay(Duration::ZERO);
    stage.serves_again().await;
}

#[tokio::test]
async fn one_slow_answer_is_over_when_it_comes() {
    let mut stage = Stage::set(Engine::Redis).await;
    stage.proxy.delay_once(Duration::from_millis(600));
    stage.is_lost().await;
    stage.serves_again().await;
}

#[tokio::test]
async fn a_store_that_nobody_calls_is_missed_and_found_all_the_same_and_a_refusal_takes_no_time() {
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
    assert!(within(3, false).await, "it was not missed");
    let begun_ms = now_ms();
    for _ in 0..1_000 {
        assert!(store.transact(Transaction::on(Scope::new(TEAM))).await.is_err());
    }
    let took_ms = now_ms() - begun_ms;
    signal(server.process_id(), "CONT");
    assert!(took_ms < 1_000 * 250 / 10, "1,000 refusals took {took_ms} ms: they waited");
    assert!(within(2, true).await, "it was not found again");
}

#[tokio::test]
async fn a_forgotten_script_is_no_outage() {
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
