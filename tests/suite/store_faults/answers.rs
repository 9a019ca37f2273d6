//! Answers that are cut off, records with invalid content, and what the log says about an outage.

use tollgate::proto::v1::ReservationState::Open;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::stage::{Stage, TEAM, asks_to_repeat};
use crate::suite::support::{
    client::{block, prompt_test, team_without_seat, until_answered},
    kept::Kept,
    servers::{Engine, Server},
    sidecar::Sidecar,
    wait_until,
};

/// After how many bytes an answer is cut off: before it, in its first line, and within its records.
const BREAKS: [usize; 5] = [0, 1, 3, 40, 100];

/// A call that was carried out although its answer was cut off is found by repeating it with the same id.
#[tokio::test]
async fn a_repeat_finds_a_call_whose_answer_was_cut_off() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let mut stage = Stage::set(engine).await;
        for (after_bytes, used) in BREAKS.into_iter().zip((2..).step_by(2)) {
            let id = format!("cut-{after_bytes}");
            let reservation = format!("reservation:{id}");

            stage.proxy.cut_answer_to(&reservation, after_bytes);
            asks_to_repeat(&stage.client.reserve(prompt_test(TEAM, &id, "gpt-4o")).await.unwrap_err());
            stage.serves_again().await;
            let granted = stage.client.proceed(prompt_test(TEAM, &id, "gpt-4o")).await;
            assert!(granted.replayed && granted.state() == Open, "{after_bytes}: {granted:?}");

            stage.proxy.cut_answer_to(&reservation, after_bytes);
            asks_to_repeat(&stage.client.commit(TEAM, &id, &granted.grant).await.unwrap_err());
            stage.serves_again().await;
            let commit = until_answered("a commit", || stage.client.commit(TEAM, &id, &granted.grant)).await;
            assert_eq!((commit.credits, commit.replayed), (2, true), "{after_bytes}");
            let books = stage.client.books(TEAM).await;
            assert_eq!((books.balance.used, books.credits, books.calls), (used, used, used / 2));
        }
    }
}

/// A repeat of a reservation that was made although its answer was cut off is not answered from the remembered refusal
/// of another call.
#[tokio::test]
async fn a_cut_off_reserve_is_not_refused_from_memory() {
    let mut stage = Stage::set(Engine::Redis).await;
    let small = "small";
    stage.client.put_team(team_without_seat(small, 30)).await;
    stage.proxy.cut_answer_to("reservation:lost", 0);
    asks_to_repeat(&stage.client.reserve(block(small, "lost", "gpt-4")).await.unwrap_err());
    stage.serves_again().await;
    // Another sidecar settles the reservation. This one learns only how much remains.
    let other = Sidecar::start(&stage.server.location());
    let settling = other.client();
    until_answered("a commit", || settling.commit(small, "lost", &[])).await;
    stage.client.suspend(block(small, "another", "gpt-4")).await;
    let granted = stage.client.proceed(block(small, "lost", "gpt-4")).await;
    assert!(granted.replayed, "{granted:?}");
}

#[tokio::test]
async fn a_key_of_another_type_affects_its_team_only() {
    let mut stage = Stage::set(Engine::Redis).await;
    let other = "other";
    stage.client.put_team(team_without_seat(other, 100)).await;
    let granted = stage.client.proceed(block(TEAM, "before", "gpt-4o")).await;
    stage.command(&["RENAME", "tollgate:{team}:holds", "aside"]);
    stage.command(&["SADD", "tollgate:{team}:holds", "foreign"]);

    let commit = stage.client.commit(TEAM, "before", &granted.grant).await.unwrap_err();
    let reserve = stage.client.reserve(block(TEAM, "after", "gpt-4o")).await.unwrap_err();
    for status in [commit, reserve] {
        assert_eq!(status.code(), Code::Internal, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "STORE_FAULT");
        assert!(!status.message().contains("{team}"), "{status:?}");
    }
    stage.client.proceed(block(other, "another", "gpt-4o")).await;
    assert!(stage.health().is_up(), "{:?}", stage.health());

    stage.command(&["RENAME", "aside", "tollgate:{team}:holds"]);
    assert_eq!(stage.client.commit(TEAM, "before", &granted.grant).await.unwrap().credits, 2);
}

#[tokio::test]
async fn an_outage_and_its_end_are_logged_once_each() {
    let mut kept = Kept::durable(Engine::Redis);
    let sidecar = Sidecar::start(&kept.location());
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    client.proceed(block(TEAM, "before", "gpt-4o")).await;
    let logged = || sidecar.stderr().lines().map(str::to_owned).collect::<Vec<_>>();
    let before = logged().len();

    kept.server().kill();
    for _ in 0..50 {
        asks_to_repeat(&client.reserve(block(TEAM, "while", "gpt-4o")).await.unwrap_err());
    }
    kept.server().restart();
    client.proceed(block(TEAM, "while", "gpt-4o")).await;
    wait_until("the return is logged", || logged().iter().any(|line| line.contains("store back")));

    let logged = logged().split_off(before);
    assert_eq!(logged.len(), 2, "{logged:#?}");
    assert!(logged[0].contains("WARN") && logged[0].contains("store lost"), "{logged:#?}");
    assert!(logged[1].contains("INFO") && logged[1].contains("away_ms"), "{logged:#?}");
}

/// A server whose configuration has to be corrected is logged once, as an error that says what to do.
#[tokio::test]
async fn a_misconfigured_server_is_logged_once_with_advice() {
    let table: [(&[&[&str]], &str); 3] = [
        (&[&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]], "Set maxmemory-policy to noeviction"),
        (&[&["REPLICAOF", "127.0.0.1", "1"]], "Name the primary instead"),
        (&[&["CONFIG", "SET", "requirepass", "secret"], &["CLIENT", "KILL", "TYPE", "normal"]], "rejects the password"),
    ];
    for (commands, advice) in table {
        let server = Server::start_durable(Engine::Redis);
        let sidecar = Sidecar::start(&server.location());
        let mut connection = server.connect();
        for command in commands {
            redis::cmd(command[0]).arg(&command[1..]).exec(&mut connection).unwrap();
        }
        wait_until("the advice is logged", || sidecar.stderr().contains("ERROR"));
        // Later attempts to reconnect are refused for the same reason.
        let mut probes = || -> usize {
            let stats: redis::InfoDict = redis::cmd("INFO").arg("stats").query(&mut connection).unwrap();
            stats.get("total_connections_received").unwrap()
        };
        let before = probes();
        wait_until("the sidecar has tried again", || probes() > before + 5);
        let logged = sidecar.stderr();
        let errors: Vec<_> = logged.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.len() == 1 && errors[0].contains(advice), "{logged}");
        assert!(!logged.contains("secret"), "{logged}");
    }
}
