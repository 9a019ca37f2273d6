//! The probe listener: health for the kubelet, and metrics for Prometheus.

use std::{
    cell::Cell,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tollgate::{
    clock::{Clock, ManualClock},
    domain::{
        id::Id,
        reservation::{Backing, read_grant},
    },
    proto::v1::{GetUsageRequest, ListTeamsRequest},
    serve::{ServeOptions, Sidecar as InProcess},
    store::StoreLocation,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::suite::support::{
    Leasing,
    client::{Client, block, channel, prompt_test, team_without_seat},
    escrow,
    servers::{Engine, Server},
    sidecar::{Sidecar, run, tollgate},
    tool, wait_for, wait_until, written_through,
};

const TEAM: &str = "team";

pub(crate) const ANY_PORT: &str = "--probe=127.0.0.1:0";

/// The services whose health the probe listener reports.
const NAMES: [&str; 4] = ["", "liveness", "readiness", "tollgate.v1.QuotaService"];

/// Returns the health of a service at a listener, or the code of the error.
pub(crate) async fn health(address: &str, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel(address)).check(request).await.map_err(|status| status.code())?;
    Ok(answer.into_inner().status())
}

/// Returns whether all names of the readiness check are SERVING.
async fn is_ready(address: &str) -> bool {
    let mut reported = Vec::new();
    for name in ["", "readiness", "tollgate.v1.QuotaService"] {
        reported.push(health(address, name).await.unwrap() == ServingStatus::Serving);
    }
    // They are set one after the other, so one may be ahead.
    reported.iter().all(|ready| *ready)
}

/// Sends an HTTP/1.1 request. Returns the head and the body of the response.
fn http(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: tollgate\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Scrapes the metrics like Prometheus.
pub(crate) fn scrape(address: &str) -> String {
    let (head, body) = http(address, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    body
}

/// Returns the value of a line of a scrape.
#[track_caller]
pub(crate) fn value(scraped: &str, name: &str) -> f64 {
    let line = scraped.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {scraped}")).parse().unwrap()
}

/// Asserts that promtool has nothing to object to in a scrape.
#[track_caller]
pub(crate) fn passes_promtool(scraped: &str) {
    let mut promtool = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(scraped.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let output = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(checked.status.success() && output.is_empty(), "{output}");
}

#[tokio::test]
async fn the_probe_listener_has_only_health_and_metrics() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let probe = sidecar.probe();
    for name in NAMES {
        assert_eq!(health(&probe, name).await, Ok(ServingStatus::Serving), "{name}");
        assert_eq!(health(sidecar.data(), name).await, Ok(ServingStatus::Serving), "{name}");
    }
    for name in ["", "liveness", "readiness", "tollgate.v1.AccountService", "tollgate.v1.UsageService"] {
        assert_eq!(health(sidecar.admin(), name).await, Ok(ServingStatus::Serving), "{name}");
    }
    assert_eq!(health(&probe, "nothing").await, Err(Code::NotFound));
    let elsewhere = Client::of(&probe, &probe);
    let refused = elsewhere.reserve(prompt_test("demo-free", "r1", "gpt-4o")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let refused = elsewhere.accounts.clone().list_teams(ListTeamsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let refused = elsewhere.usage.clone().get_usage(GetUsageRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let listed = run(Command::new(tool("grpcurl")).args(["-plaintext", &probe, "list"]));
    let output = String::from_utf8(listed.stderr).unwrap();
    assert!(output.contains("does not support the reflection API"), "{output}");
    for (request, status) in
        [("GET /", 404), ("GET /metrics/", 404), ("POST /metrics", 404), ("HEAD /metrics", 200), ("GET /metrics", 200)]
    {
        let (head, _) = http(&probe, request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
    }
}

#[test]
fn grpcurl_and_tollgate_probe_read_the_probe_listener() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let directory = tempfile::tempdir().unwrap();
    let protocol = directory.path().join("health.bin");
    std::fs::write(&protocol, tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    let protocol = protocol.to_str().unwrap();
    for name in NAMES {
        let asked = format!("{{\"service\":\"{name}\"}}");
        let arguments = ["-plaintext", "-protoset", protocol, "-d", &asked, &sidecar.probe()];
        let reported = run(Command::new(tool("grpcurl")).args(arguments).arg("grpc.health.v1.Health/Check"));
        assert_eq!(String::from_utf8(reported.stdout).unwrap(), "{\n  \"status\": \"SERVING\"\n}\n", "{name}");
        let reported = tollgate(&["probe", "--data", &sidecar.probe(), name]);
        assert_eq!((reported.status.code(), &reported.stdout[..]), (Some(0), &b"SERVING\n"[..]), "{name}");
    }
}

#[tokio::test]
async fn a_scrape_counts_calls_and_passes_promtool() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 10)).await;
    for id in ["r1", "r2"] {
        client.proceed(block(TEAM, id, "gpt-4o")).await;
    }
    client.commit(TEAM, "r1", &[]).await.unwrap();
    client.commit(TEAM, "nothing", &[]).await.unwrap_err();
    let scraped = scrape(&sidecar.probe());
    let calls =
        |rpc, code| value(&scraped, &format!("tollgate_call_duration_seconds_count{{code=\"{code}\",rpc=\"{rpc}\"}}"));
    assert_eq!((calls("CheckAndReserve", "OK"), calls("Commit", "OK")), (2.0, 1.0));
    assert_eq!((calls("Commit", "NOT_FOUND"), calls("PutTeam", "OK")), (1.0, 1.0));
    assert_eq!((value(&scraped, "tollgate_ready"), value(&scraped, "tollgate_store_up")), (1.0, 1.0));
    let build = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let built = scraped.lines().find(|line| line.starts_with("tollgate_build_info{")).unwrap();
    assert!(built.contains(&build) && built.contains("store=\"memory\"") && built.contains("revision=\""), "{built}");
    assert!(!scraped.contains(TEAM) || !scraped.contains("\"team\""), "{scraped}");

    passes_promtool(&scraped);
}

/// Probes are answered although every slot of the other listeners is taken, and many clients hold on to connections of the probe
/// listener.
#[tokio::test]
async fn probes_are_answered_when_all_listeners_are_full() {
    let server = Server::start(Engine::Redis);
    let few = ["--max-connections=1", "--max-calls=1", "--max-streams=1", ANY_PORT];
    let sidecar = Sidecar::start_with(&server.location(), &few);
    let client = sidecar.client();
    client.put_team(team_without_seat(TEAM, 100)).await;
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
    let mut waits = Box::pin(client.reserve(block(TEAM, "second", "gpt-4o")));
    assert!(futures::poll!(&mut waits).is_pending());
    let mut silent: Vec<_> = (0..200).map(|_| TcpStream::connect(sidecar.probe()).unwrap()).collect();
    silent[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "the oldest is evicted");
    let watched = HealthCheckRequest::default();
    let mut watch = HealthClient::new(channel(&sidecar.probe())).watch(watched).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(health(&sidecar.probe(), "liveness").await, Ok(ServingStatus::Serving));
    scrape(&sidecar.probe());
    drop(silent);
}

/// Readiness follows the store on every listener, and liveness does not.
#[tokio::test]
async fn readiness_follows_the_store_and_liveness_does_not() {
    let mut server = Server::start_durable(Engine::Redis);
    let sidecar = Sidecar::start_with(&server.location(), &[ANY_PORT]);
    let probe = sidecar.probe();
    let watched = HealthCheckRequest { service: "readiness".to_owned() };
    let mut watch = HealthClient::new(channel(&probe)).watch(watched).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    for (up, status) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        if up {
            server.restart()
        } else {
            server.kill()
        }
        let news = tokio::time::timeout(Duration::from_secs(20), watch.message()).await.unwrap();
        assert_eq!(news.unwrap().unwrap().status(), status);
        for address in [&probe, sidecar.data()] {
            wait_for("all names to report it", || async { (is_ready(address).await == up).then_some(()) }).await;
            assert_eq!(health(address, "liveness").await, Ok(ServingStatus::Serving));
        }
        assert_eq!(health(sidecar.admin(), "").await, Ok(status));
        assert_eq!(health(sidecar.admin(), "tollgate.v1.AccountService").await, Ok(ServingStatus::Serving));
        let scraped = scrape(&probe);
        let reported = [value(&scraped, "tollgate_ready"), value(&scraped, "tollgate_store_up")];
        assert_eq!(reported, [f64::from(u8::from(up)); 2]);
    }
}

/// Held leases keep a sidecar without its store ready for as long as they can be drawn from.
// Multi-threaded, because a scrape blocks while it waits for the sidecar in this process.
#[tokio::test(flavor = "multi_thread")]
async fn usable_leases_keep_it_ready_without_a_store() {
    let (sidecar, probe) = ready_by_a_lease(10_000).await;
    wait_for("the lease to run out", || async { (!is_ready(&probe).await).then_some(()) }).await;
    assert_eq!(health(&probe, "liveness").await, Ok(ServingStatus::Serving));
    sidecar.shutdown().await;
}

/// A held lease does not keep a sidecar ready when its catalogue is too old to price calls.
#[tokio::test(flavor = "multi_thread")]
async fn leases_keep_no_sidecar_ready_with_an_old_catalogue() {
    let (sidecar, probe) = ready_by_a_lease(100_000).await;
    wait_for("the catalogue to be too old", || async { (!is_ready(&probe).await).then_some(()) }).await;
    assert!(value(&scrape(&probe), "tollgate_leased_credits") > 0.0);
    sidecar.shutdown().await;
}

/// Without a lease, a fresh catalogue does not keep a sidecar ready that has lost its store.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_catalogue_alone_keeps_nothing_ready() {
    let mut server = Server::start_durable(Engine::Redis);
    // The clock stands still, so the catalogue stays fresh.
    let clock = Clock::Manual(ManualClock::at(Clock::System.now_ms()));
    let probe = Some("127.0.0.1:0".parse().unwrap());
    let options = ServeOptions { store: server.location(), clock, probe, ..written_through() };
    let sidecar = InProcess::start(options).await.unwrap();
    let probe = sidecar.probe_address().unwrap().to_string();
    assert!(is_ready(&probe).await);
    server.kill();
    wait_for("it to be not ready", || async { (!is_ready(&probe).await).then_some(()) }).await;
    sidecar.shutdown().await;
}

/// Starts a sidecar that has lost its server and is ready because of a lease, which can be drawn from for `term_ms`. Returns it
/// with the address of its probe listener.
async fn ready_by_a_lease(term_ms: i64) -> (InProcess, String) {
    let mut server = Server::start_durable(Engine::Redis);
    let mut escrow = escrow(Leasing::AtOnce);
    escrow.terms.term_ms = term_ms;
    let probe = Some("127.0.0.1:0".parse().unwrap());
    let options = ServeOptions { store: server.location(), escrow, probe, ..ServeOptions::default() };
    let sidecar = InProcess::start(options).await.unwrap();
    let client = Client::of(&sidecar.listen_address().to_string(), &sidecar.admin_address().to_string());
    client.put_team(team_without_seat(TEAM, 1_000)).await;
    let probe = sidecar.probe_address().unwrap().to_string();
    // A lease covers at least one more call than the one that it was taken for.
    let calls = Cell::new(0);
    let of_which_lease = || async {
        calls.set(calls.get() + 1);
        let id = format!("call-{}", calls.get());
        let grant = client.proceed(block(TEAM, &id, "gpt-4o")).await.grant;
        match read_grant(&grant, &Id::parse(&id).unwrap()).unwrap().backing {
            Backing::Lease { id, .. } => Some(id),
            Backing::Record => None,
        }
    };
    let first = of_which_lease().await;
    wait_for("a new lease", || async { (of_which_lease().await != first).then_some(()) }).await;
    server.kill();
    let is_lost = || async { (value(&scrape(&probe), "tollgate_store_up") == 0.0).then_some(()) };
    wait_for("the loss to be noticed", is_lost).await;
    assert!(is_ready(&probe).await);
    client.proceed(block(TEAM, "second", "gpt-4o")).await;
    (sidecar, probe)
}

#[tokio::test]
async fn before_the_store_is_open_it_is_alive_and_not_ready() {
    // A server that accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("redis://{}", silent.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--probe", &free, "--store", &store]);
    command.arg("--store-start-wait=0s");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the probe listener", || async { health(&free, "liveness").await.ok() }).await;
    assert_eq!(health(&free, "liveness").await, Ok(ServingStatus::Serving));
    for name in ["", "readiness", "tollgate.v1.QuotaService"] {
        assert_eq!(health(&free, name).await, Ok(ServingStatus::NotServing), "{name}");
    }
    assert_eq!(value(&scrape(&free), "tollgate_ready"), 0.0);
    let mut ended = None;
    wait_until("it gives up", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(69));
}

#[test]
fn the_probe_listener_needs_an_address_of_its_own() {
    let taken = ["--listen=127.0.0.1:50061", "--probe=0.0.0.0:50061", "--store=memory"];
    let refused = tollgate(&taken);
    let output = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{output}");
    assert!(output.contains("probe (--probe): must not be the address of listen"), "{output}");
    let nowhere = Sidecar::start_in(
        &Arc::new(tempfile::tempdir().unwrap()),
        &["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--store=memory"],
    );
    assert!(!nowhere.stdout().contains("probe:"), "{}", nowhere.stdout());
}
