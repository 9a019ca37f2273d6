//! The program as an operator sees it: how it starts, what it prints, how it stops, and what it reports when it cannot start.

use std::{process::Command, sync::Arc};

use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tollgate::{
    clock::Clock,
    proto::v1::{ListTeamsRequest, Team},
    store::StoreLocation,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use crate::suite::support::{
    client::{block, is_of_unknown_outcome, team_without_seat, until_answered},
    kept::Kept,
    servers::{Engine, Server},
    sidecar::{Sidecar, argument, run, tollgate},
    tool, wait_for, wait_until,
};

const TEAM: &str = "team";

/// Arguments for two free ports of this machine, and the default store.
const ANY_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

#[test]
fn the_calls_in_the_banner_work() {
    for command in [&[][..], &["serve"]] {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let sidecar = Sidecar::start_in(&directory, &[command, &ANY_PORTS].concat());
        assert!(directory.path().join("tollgate-data").is_dir(), "the store is where the process was started");
        the_calls_shown_work(&sidecar);
    }
}

#[test]
fn the_calls_in_the_banner_work_for_sockets() {
    the_calls_shown_work(&Sidecar::start(&StoreLocation::Memory));
}

fn the_calls_shown_work(sidecar: &Sidecar) {
    let shown = sidecar.stdout();
    for team in ["demo-free (free, no seat)", "demo-basic (basic, a paid seat)", "demo-pro (professional, a paid seat)"]
    {
        assert!(shown.contains(team), "{shown}");
    }
    let lines: Vec<_> = shown.lines().filter(|line| line.trim_start().starts_with("grpcurl ")).collect();
    let answers: Vec<_> = lines.into_iter().map(shell).collect();
    let [reserve, commit, usage] = &answers[..] else { panic!("{} calls are shown", answers.len()) };
    let proceed = &reserve["proceed"];
    assert_eq!((&proceed["credits"], &proceed["state"]), (&"2".into(), &"RESERVATION_STATE_OPEN".into()));
    assert_eq!(commit["credits"], "2");
    assert_eq!((&usage["balance"]["used"], &usage["balance"]["included"]), (&"2".into(), &"25000".into()));
}

/// Runs a line in a shell that has grpcurl on its PATH, and parses the output.
fn shell(line: &str) -> serde_json::Value {
    serde_json::from_str(&shell_text(line)).unwrap()
}

fn shell_text(line: &str) -> String {
    let grpcurl = tool("grpcurl");
    let others = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let path = std::env::join_paths(std::iter::once(grpcurl.parent().unwrap().to_owned()).chain(others)).unwrap();
    let output = run(Command::new("sh").args(["-c", line]).env("PATH", path));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_listeners_list_their_services_as_serving() {
    let sidecar = Sidecar::start_in(&Arc::new(tempfile::tempdir().unwrap()), &ANY_PORTS);
    let everywhere =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    let admin = ["tollgate.v1.AccountService", "tollgate.v1.UsageService"];
    for (address, services) in [(sidecar.data(), &["tollgate.v1.QuotaService"][..]), (sidecar.admin(), &admin)] {
        let listed = shell_text(&format!("grpcurl -plaintext {address} list"));
        assert_eq!(listed.lines().collect::<Vec<_>>(), [&everywhere, services].concat());
        for service in services {
            let health = shell(&format!(
                "grpcurl -plaintext -d '{{\"service\":\"{service}\"}}' {address} grpc.health.v1.Health/Check"
            ));
            assert_eq!(health["status"], "SERVING");
        }
    }
}

#[tokio::test]
async fn a_restart_finds_accounts_and_teams_unchanged() {
    let kept = Kept::embedded();
    let mut sidecar = kept.sidecar();
    let client = sidecar.client();
    assert!(sidecar.stdout().contains("three demo teams"));
    client.put_team(team_without_seat("demo-free", 7)).await;
    client.proceed(block("demo-free", "first", "gpt-3.5")).await;
    client.commit("demo-free", "first", &[]).await.unwrap();

    sidecar.signal("TERM");
    ended_well(&mut sidecar);
    sidecar.restart();

    assert!(!sidecar.stdout().contains("demo teams"), "{}", sidecar.stdout());
    let list =
        || async { Ok(client.accounts.clone().list_teams(ListTeamsRequest::default()).await?.into_inner().teams) };
    let teams: Vec<Team> = until_answered("the teams", list).await;
    let teams: Vec<_> = teams.iter().map(|team| (team.team_id.as_str(), team.included_credits)).collect();
    assert_eq!(teams, [("demo-basic", None), ("demo-free", Some(7)), ("demo-pro", None)]);
    let books = client.books("demo-free").await;
    assert_eq!((books.balance.used, books.balance.remaining, books.calls), (5, 2, 1));
}

#[tokio::test]
async fn sigterm_lets_the_calls_in_flight_finish_and_no_new_one_begin() {
    ends_in_order("TERM").await;
}

#[tokio::test]
async fn sigint_lets_the_calls_in_flight_finish_and_no_new_one_begin() {
    ends_in_order("INT").await;
}

async fn ends_in_order(signal: &str) {
    let server = Server::start(Engine::Redis);
    let mut sidecar = Sidecar::start(&server.location());
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    let mut health = HealthClient::new(client.data.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(status(watch.message().await.unwrap()), Some(ServingStatus::Serving));

    pause(&server);
    let mut commit = Box::pin(client.commit(TEAM, "first", &[]));
    assert!(futures::poll!(&mut commit).is_pending());
    // A connection keeps the order of its calls: when this one is answered, the commit has arrived.
    health.check(HealthCheckRequest::default()).await.unwrap();
    sidecar.signal(signal);
    assert_eq!(status(watch.message().await.unwrap()), Some(ServingStatus::NotServing));
    for client in [&client, &sidecar.client()] {
        let refused = client.reserve(block(TEAM, "second", "gpt-4o")).await.unwrap_err();
        assert!(is_of_unknown_outcome(&refused), "{refused}");
    }
    assert!(sidecar.ended().is_none() && futures::poll!(&mut commit).is_pending());
    redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut server.connect()).unwrap();

    assert_eq!(commit.await.unwrap().credits, 2);
    ended_well(&mut sidecar);
    assert!(watch.message().await.is_ok_and(|end| end.is_none()), "the watch was ended, not cut");
    sidecar.restart();
    let books = sidecar.client().books(TEAM).await;
    assert_eq!((books.balance.used, books.balance.held), (2, 0));
}

/// Neither a client that keeps its connection nor a silent store delays shutdown by ten seconds.
#[tokio::test]
async fn shutdown_takes_less_than_ten_seconds() {
    let server = Server::start(Engine::Redis);
    let mut sidecar = Sidecar::start(&server.location());
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    let _held = held_stream(&client.data).await;
    pause(&server);
    let mut commit = Box::pin(client.commit(TEAM, "first", &[]));
    assert!(futures::poll!(&mut commit).is_pending());
    sidecar.signal("TERM");
    let begun_ms = Clock::System.monotonic_ms();
    assert_eq!(commit.await.unwrap_err().code(), Code::Unavailable);
    ended_well(&mut sidecar);
    let took_ms = Clock::System.monotonic_ms() - begun_ms;
    assert!(took_ms < 10_000, "it took {took_ms} ms");
}

/// For a second after new reservations are refused, settlements are still served.
#[tokio::test]
async fn settlements_are_served_after_reservations_are_refused() {
    let mut sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    for id in ["old", "new"] {
        client.proceed(block(TEAM, id, "gpt-4o")).await;
    }
    sidecar.signal("TERM");
    let is_told = || async { client.reserve(block(TEAM, "another", "gpt-4o")).await.err() };
    let refused = wait_for("reservations to be refused", is_told).await;
    assert_eq!(refused.get_details_error_info().map(|info| info.reason).as_deref(), Some("DRAINING"), "{refused:?}");
    assert_eq!(client.commit(TEAM, "old", &[]).await.unwrap().credits, 2);
    assert_eq!(sidecar.client().commit(TEAM, "new", &[]).await.unwrap().credits, 2);
    ended_well(&mut sidecar);
}

/// At shutdown, a commit whose client has disconnected delays the shutdown, but not forever.
#[tokio::test]
async fn shutdown_waits_for_abandoned_commits_for_a_while() {
    let server = Server::start(Engine::Redis);
    let mut sidecar = Sidecar::start_with(&server.location(), &["--store-wait=10s"]);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    pause(&server);
    let mut commit = Box::pin(client.commit(TEAM, "first", &[]));
    assert!(futures::poll!(&mut commit).is_pending());
    // A connection keeps the order of its calls: when this one is answered, the commit has arrived.
    HealthClient::new(client.data.clone()).check(HealthCheckRequest::default()).await.unwrap();
    drop(commit);
    drop(client);
    sidecar.signal("TERM");
    ended_well(&mut sidecar);
    assert!(sidecar.stderr().contains("some commits did not finish in time"), "{}", sidecar.stderr());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = sidecar.client();
    let _held = held_stream(&client.data).await;
    let mut health = HealthClient::new(client.data.clone());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    sidecar.signal("TERM");
    assert_eq!(status(watch.message().await.unwrap()), Some(ServingStatus::NotServing));
    sidecar.signal("INT");
    wait_until("the sidecar ends", || sidecar.ended().is_some());
    assert_eq!(sidecar.ended().unwrap().code(), Some(137));
}

/// Opens a stream that its client never ends.
async fn held_stream(data: &tonic::transport::Channel) -> impl Sized {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let asked = ServerReflectionRequest { host: String::new(), message_request };
    let asked = tokio_stream::once(asked).chain(tokio_stream::pending());
    let mut answers =
        ServerReflectionClient::new(data.clone()).server_reflection_info(asked).await.unwrap().into_inner();
    answers.message().await.unwrap();
    answers
}

/// Makes a Redis server delay every script.
fn pause(server: &Server) {
    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
}

fn status(news: Option<HealthCheckResponse>) -> Option<ServingStatus> {
    news.map(|news| news.status())
}

fn ended_well(sidecar: &mut Sidecar) {
    wait_until("the sidecar ends", || sidecar.ended().is_some());
    assert_eq!(sidecar.ended().unwrap().code(), Some(0));
}

/// Asserts that the program exits with this code and an error that contains this text, before it is ready.
#[track_caller]
pub(crate) fn refuses(arguments: &[&str], code: i32, says: &str) {
    let output = tollgate(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(error.contains(says) && output.stdout.is_empty(), "{arguments:?}: {error}");
}

/// Returns the arguments to serve this store on free ports.
pub(crate) fn serving(store: &str) -> Vec<&str> {
    [&ANY_PORTS[..], &["--store", store]].concat()
}

#[test]
fn an_invalid_command_line_is_refused() {
    refuses(&["--no-such-option"], 64, "--no-such-option");
    refuses(&["no-such-command"], 64, "no-such-command");
    refuses(&["serve", "--run-max-age", "soon"], 78, "--run-max-age");
    refuses(&["serve", "--listen", "50051"], 78, "host:port");
    refuses(&serving("postgres://localhost"), 78, "embedded:DIRECTORY");
}

#[test]
fn a_store_that_is_locked_or_unreachable_is_refused() {
    let nowhere = tempfile::tempdir().unwrap();
    let store = format!("redis+unix://{}/none", nowhere.path().display());
    refuses(&[&serving(&store)[..], &["--store-start-wait=0s"]].concat(), 69, "cannot be reached");
    let kept = Kept::embedded();
    let _first = kept.sidecar();
    refuses(&serving(&argument(&kept.location())), 69, "in use by another process");
    let damaged: TempDir = tempfile::tempdir().unwrap();
    std::fs::write(damaged.path().join("tollgate.redb"), "something else").unwrap();
    refuses(&serving(&format!("embedded:{}", damaged.path().display())), 69, "is not a file of Tollgate");
}

#[test]
fn a_directory_that_cannot_be_created_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    refuses(&serving(&format!("embedded:{}", file.path().display())), 69, "could not be created: File exists");
}

/// A server that refuses the password is not reported as one that cannot be reached.
#[test]
fn a_wrong_password_is_not_reported_as_unreachable() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start_on_port(engine, &["--requirepass", "right"]);
        for login in ["", ":wrong@", "nobody:right@"] {
            let store = format!("redis://{login}127.0.0.1:{}", server.port());
            refuses(&serving(&store), 78, "rejects the password, or requires one");
        }
    }
}

#[test]
fn a_server_that_may_lose_credits_is_refused() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let evicting = Server::start_with(engine, &["--maxmemory-policy", "allkeys-lru"]);
        refuses(&serving(&argument(&evicting.location())), 78, "noeviction");
        let forgetful = Server::start(engine);
        let store = argument(&forgetful.location());
        refuses(&[&serving(&store)[..], &["--require-aof"]].concat(), 78, "append-only file");
    }
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let first = Sidecar::start_in(&Arc::new(tempfile::tempdir().unwrap()), &ANY_PORTS);
    let arguments = ["--listen", first.data(), "--admin", "127.0.0.1:0", "--store", "memory"];
    refuses(&arguments, 78, "another process already listens on");
    let on_sockets = Sidecar::start(&StoreLocation::Memory);
    let arguments = ["--listen", on_sockets.data(), "--admin", "127.0.0.1:0", "--store", "memory"];
    refuses(&arguments, 78, "another process already listens on");
}

/// A Redis user that lacks a permission is refused at start, before anything is half done.
#[test]
fn a_user_without_permissions_is_refused_at_start() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let server = Server::start_on_port(engine, &[]);
        for forbidden in
            ["xadd", "zadd", "zrem", "hset", "set", "del", "pexpire", "zrangebylex", "xrange", "ping", "evalsha"]
        {
            let rules = ["SETUSER", "limited", "reset", "on", ">pw", "~*", "+@all", &format!("-{forbidden}")];
            redis::cmd("ACL").arg(&rules).exec(&mut server.connect()).unwrap();
            let store = format!("redis://limited:pw@127.0.0.1:{}", server.port());
            refuses(&serving(&store), 78, "does not permit its user");
        }
        let rules = "SETUSER limited reset on >pw ~tollgate:* +@read +@write +@scripting +ping +info +time";
        redis::cmd("ACL").arg(rules.split(' ').collect::<Vec<_>>()).exec(&mut server.connect()).unwrap();
        let store = StoreLocation::Redis(format!("redis://limited:pw@127.0.0.1:{}", server.port()));
        Sidecar::start(&store);
    }
}
