//! Metrics of decisions, credits, the store and leases: each one changes when its event happens, and only then.

use std::collections::BTreeMap;

use tollgate::{
    proto::v1::{
        BeginRunRequest, CheckAndReserveRequest, CommitRequest, CommitResponse, ListTeamsRequest, PutTeamRequest, Team,
    },
    serve::{ServeOptions, Sidecar as InProcess},
    store::StoreLocation,
};
use tonic::{Code, Request, client::Grpc};
use tonic_prost::ProstCodec;

use crate::suite::{
    probes::{ANY_PORT, passes_promtool, scrape, value},
    support::{
        Leasing,
        client::{Client, block, channel, professional_team, prompt_test, team_without_seat},
        escrow,
        servers::{Engine, Server},
        sidecar::Sidecar,
        wait_for,
    },
};

/// Changed series, named without `tollgate_`, each with its increase.
type Increases<'a> = &'a [(&'a str, f64)];

const COMMITTED: &str = "credits_total{kind=\"committed\"}";
const RESERVED: &str = "credits_total{kind=\"reserved\"}";
const RELEASED: &str = "credits_total{kind=\"released\"}";
const EXPIRED: &str = "credits_total{kind=\"expired\"}";
const RUN_COMPLETION: &str = "credits_total{kind=\"run_completion\"}";
const ABOVE_HOLD: &str = "credits_total{kind=\"above_hold\"}";
const BLOCKS: &str = "overage_blocks_charged_total";
const BY_ALLOTMENT: &str =
    "decisions_total{basis=\"allotment\",outcome=\"proceed\",reason=\"\",rpc=\"CheckAndReserve\"}";
const BY_OVERAGE: &str = "decisions_total{basis=\"overage\",outcome=\"proceed\",reason=\"\",rpc=\"CheckAndReserve\"}";
const BY_RUN: &str =
    "decisions_total{basis=\"run_completion\",outcome=\"proceed\",reason=\"\",rpc=\"CheckAndReserve\"}";
const REPLAY: &str = "decisions_total{basis=\"allotment\",outcome=\"replay\",reason=\"\",rpc=\"CheckAndReserve\"}";
const STOPPED: &str =
    "decisions_total{basis=\"\",outcome=\"suspend\",reason=\"blocks_stopped\",rpc=\"CheckAndReserve\"}";
const RUN_BEGUN: &str = "decisions_total{basis=\"\",outcome=\"proceed\",reason=\"\",rpc=\"BeginRun\"}";
const RUN_REPLAY: &str = "decisions_total{basis=\"\",outcome=\"replay\",reason=\"\",rpc=\"BeginRun\"}";
const RUN_STOPPED: &str = "decisions_total{basis=\"\",outcome=\"suspend\",reason=\"blocks_stopped\",rpc=\"BeginRun\"}";

/// The counters of a sidecar, as of the last scrape.
struct Counters {
    probe: String,
    series: BTreeMap<String, f64>,
}

impl Counters {
    fn scraped(probe: &str) -> Self {
        Self { probe: probe.to_owned(), series: counters_of(&scrape(probe)) }
    }

    /// Asserts that exactly these series have increased since the last scrape.
    #[track_caller]
    fn increased(&mut self, what: &str, by: Increases<'_>) {
        let series = counters_of(&scrape(&self.probe));
        let changes = series.iter().map(|(name, now)| (name.as_str(), now - self.series.get(name).unwrap_or(&0.0)));
        let changes: BTreeMap<_, _> = changes.filter(|(_, by)| *by != 0.0).collect();
        assert_eq!(changes, by.iter().copied().collect(), "{what}");
        self.series = series;
    }
}

/// Returns the counters of decisions, credits, blocks and refusals in a scraped text.
fn counters_of(scraped: &str) -> BTreeMap<String, f64> {
    let lines = scraped.lines().filter_map(|line| line.strip_prefix("tollgate_")?.rsplit_once(' '));
    let families = ["decisions_total", "credits_total", "overage_blocks_charged_total", "calls_refused_total"];
    let selected = lines.filter(|(line, _)| families.iter().any(|family| line.starts_with(family)));
    selected.map(|(line, value)| (line.to_owned(), value.parse().unwrap())).collect()
}

fn run(team: &str, run: &str) -> BeginRunRequest {
    BeginRunRequest { team_id: team.to_owned(), flow_id: "flow".to_owned(), run_id: run.to_owned() }
}

/// Each call changes exactly the counters of its own effect. A repeat of it changes nothing but `replay`.
#[tokio::test]
async fn a_call_counts_once_and_a_repeat_counts_as_replay() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let client = sidecar.client();
    client.put_team(team_without_seat("free", 60)).await;
    let mut counters = Counters::scraped(&sidecar.probe());

    client.proceed(block("free", "r1", "gpt-4")).await;
    counters.increased("a reserve", &[(BY_ALLOTMENT, 1.0), (RESERVED, 25.0)]);
    client.proceed(block("free", "r1", "gpt-4")).await;
    counters.increased("its repeat", &[(REPLAY, 1.0)]);
    client.proceed(block("free", "r2", "gpt-4")).await;
    counters.increased("another reserve", &[(BY_ALLOTMENT, 1.0), (RESERVED, 25.0)]);
    for id in ["r3", "r4"] {
        client.suspend(block("free", id, "gpt-4")).await;
        counters.increased("a suspended call, decided by the store and from the cache", &[(STOPPED, 1.0)]);
    }
    client.proceed(CheckAndReserveRequest { dry_run: true, ..block("free", "r5", "gpt-4o") }).await;
    counters.increased("a dry run", &[]);
    client.commit("free", "r1", &[]).await.unwrap();
    counters.increased("a commit", &[(COMMITTED, 25.0)]);
    client.commit("free", "r1", &[]).await.unwrap();
    counters.increased("its repeat", &[]);
    client.release("free", "r2", &[]).await.unwrap();
    counters.increased("a release", &[(RELEASED, 25.0)]);
    client.release("free", "r2", &[]).await.unwrap();
    counters.increased("its repeat", &[]);
    assert_eq!(client.commit("free", "r2", &[]).await.unwrap_err().code(), Code::FailedPrecondition);
    counters.increased("a commit that is refused", &[]);

    client.quota.clone().begin_run(run("free", "own")).await.unwrap();
    counters.increased("a run", &[(RUN_BEGUN, 1.0)]);
    client.quota.clone().begin_run(run("free", "own")).await.unwrap();
    counters.increased("its repeat", &[(RUN_REPLAY, 1.0)]);

    // 35 credits remain. The commit uses 50: its hold covers 25, and the other 25 exceed the 10 that then remain.
    client.proceed(block("free", "r6", "gpt-4")).await;
    counters.increased("a reserve", &[(BY_ALLOTMENT, 1.0), (RESERVED, 25.0)]);
    let (team_id, reservation_id) = ("free".to_owned(), "r6".to_owned());
    let dearer = CommitRequest { team_id, reservation_id, units: Some(2), ..CommitRequest::default() };
    client.quota.clone().commit(dearer).await.unwrap();
    counters.increased("a commit above its hold", &[(COMMITTED, 50.0), (ABOVE_HOLD, 25.0)]);
    client.proceed(block("free", "r7", "gpt-4o")).await;
    counters.increased("a reserve", &[(BY_ALLOTMENT, 1.0), (RESERVED, 2.0)]);
    client.put_team(team_without_seat("free", 52)).await;
    client.quota.clone().begin_run(run("free", "late")).await.unwrap();
    counters.increased("a suspended run", &[(RUN_STOPPED, 1.0)]);
}

/// The commit that buys an overage block or completes a run past the limit counts it, once.
#[tokio::test]
async fn commits_count_overage_blocks_and_run_completion() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let client = sidecar.client();
    client.put_team(professional_team("overages", 30)).await;
    client.set_overages("overages", true, None).await;
    client.put_team(professional_team("seat", 10)).await;
    let mut counters = Counters::scraped(&sidecar.probe());
    client.proceed(block("overages", "o1", "gpt-4")).await;
    client.commit("overages", "o1", &[]).await.unwrap();
    counters.increased("within the allotment", &[(BY_ALLOTMENT, 1.0), (RESERVED, 25.0), (COMMITTED, 25.0)]);
    client.proceed(block("overages", "o2", "gpt-4")).await;
    counters.increased("past the allotment", &[(BY_OVERAGE, 1.0), (RESERVED, 25.0)]);
    for _ in 0..2 {
        client.commit("overages", "o2", &[]).await.unwrap();
    }
    counters.increased("its commit, twice", &[(COMMITTED, 25.0), (BLOCKS, 1.0)]);

    client.proceed(block("seat", "s0", "gpt-4o")).await;
    counters.increased("the first call of a run, which makes it current", &[(BY_ALLOTMENT, 1.0), (RESERVED, 2.0)]);
    client.proceed(block("seat", "s1", "gpt-4")).await;
    counters.increased("a block of that run past the limit", &[(BY_RUN, 1.0), (RESERVED, 25.0)]);
    client.commit("seat", "s1", &[]).await.unwrap();
    counters.increased("its commit", &[(COMMITTED, 25.0), (RUN_COMPLETION, 25.0)]);
}

/// Returns the series of a decision.
fn decision(rpc: &str, outcome: &str, reason: &str, basis: &str) -> String {
    format!("decisions_total{{basis=\"{basis}\",outcome=\"{outcome}\",reason=\"{reason}\",rpc=\"{rpc}\"}}")
}

#[tokio::test]
async fn suspend_reasons_and_replay_bases_have_their_own_series() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT, "--run-completion-credits=30"]);
    let client = sidecar.client();
    client.put_team(professional_team("seat", 2)).await;
    client.put_team(professional_team("overages", 25)).await;
    client.set_overages("overages", true, Some(1)).await;
    client.proceed(block("seat", "s1", "gpt-4o")).await;
    client.proceed(block("seat", "s2", "gpt-4")).await;
    client.proceed(prompt_test("overages", "o1", "gpt-4")).await;
    let thousand = CheckAndReserveRequest { units: 40, ..prompt_test("overages", "o2", "gpt-4") };
    client.proceed(thousand.clone()).await;

    let mut counters = Counters::scraped(&sidecar.probe());
    for (request, basis) in [(block("seat", "s2", "gpt-4"), "run_completion"), (thousand, "overage")] {
        client.proceed(request).await;
        counters.increased("a repeat", &[(&decision("CheckAndReserve", "replay", "", basis), 1.0)]);
    }
    for (request, reason) in [
        (block("seat", "s3", "gpt-4"), "run_ceiling_reached"),
        (prompt_test("seat", "s4", "gpt-4"), "limit_reached"),
        (prompt_test("overages", "o3", "gpt-4"), "overage_cap_reached"),
    ] {
        client.suspend(request).await;
        counters.increased("a suspended call", &[(&decision("CheckAndReserve", "suspend", reason, ""), 1.0)]);
    }
    for (team, reason) in [("seat", "limit_reached"), ("overages", "overage_cap_reached")] {
        client.quota.clone().begin_run(run(team, "another")).await.unwrap();
        counters.increased("a suspended run", &[(&decision("BeginRun", "suspend", reason, ""), 1.0)]);
    }
}

/// An expired hold counts once, no matter which task notices it. The late commit of it counts as committed.
#[tokio::test]
async fn an_expired_hold_counts_once_and_its_late_commit_too() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let client = sidecar.client();
    client.put_team(team_without_seat("team", 60)).await;
    let hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    client.proceed(CheckAndReserveRequest { hold_for, ..block("team", "r1", "gpt-4o") }).await;
    let mut counters = Counters::scraped(&sidecar.probe());
    let line = format!("tollgate_{EXPIRED}");
    wait_for("the hold to run out", || async { (value(&scrape(&sidecar.probe()), &line) > 0.0).then_some(()) }).await;
    counters.increased("the end of a hold", &[(EXPIRED, 2.0)]);
    assert!(client.commit("team", "r1", &[]).await.unwrap().late);
    counters.increased("a late commit", &[(COMMITTED, 2.0)]);
}

#[tokio::test]
async fn requests_refused_before_the_gate_count_by_reason() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let client = sidecar.client();
    let mut counters = Counters::scraped(&sidecar.probe());
    let too_large = CheckAndReserveRequest { flow_id: "f".repeat(70_000), ..block("team", "r1", "gpt-4o") };
    assert_eq!(client.reserve(too_large).await.unwrap_err().code(), Code::InvalidArgument);
    counters.increased("a request that is too large", &[("calls_refused_total{reason=\"too_large\"}", 1.0)]);
    let mut grpc = Grpc::new(client.data.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/tollgate.v1.QuotaService/Commit");
    let codec = ProstCodec::<ListTeamsRequest, CommitResponse>::default();
    let number = ListTeamsRequest { page_size: 7, ..ListTeamsRequest::default() };
    assert_eq!(grpc.unary(Request::new(number), path, codec).await.unwrap_err().code(), Code::InvalidArgument);
    counters.increased("a request that cannot be decoded", &[("calls_refused_total{reason=\"undecodable\"}", 1.0)]);
    client.reserve(block("nobody", "r1", "gpt-4o")).await.unwrap_err();
    counters.increased("a call that the gate refuses", &[]);

    // The same for a service that the fast path does not serve.
    let large = Team { plan: "p".repeat(70_000), ..team_without_seat("team", 1) };
    client.accounts.clone().put_team(PutTeamRequest { team: Some(large) }).await.unwrap_err();
    counters.increased("a team that is too large", &[("calls_refused_total{reason=\"too_large\"}", 1.0)]);
}

/// A request that does not arrive in time, and a call above `max_calls`, count by their reasons.
#[tokio::test]
async fn incomplete_and_overloaded_calls_count_by_reason() {
    let server = Server::start(Engine::Redis);
    let few = [ANY_PORT, "--max-calls=1", "--max-call-time=300ms"];
    let sidecar = Sidecar::start_with(&server.location(), &few);
    let client = sidecar.client();
    client.put_team(team_without_seat("team", 60)).await;
    let mut counters = Counters::scraped(&sidecar.probe());
    for (channel, path) in [
        (&client.data, "/tollgate.v1.QuotaService/Commit"),
        (&channel(sidecar.admin()), "/tollgate.v1.UsageService/GetUsage"),
    ] {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let nothing = Request::new(tokio_stream::pending::<CommitRequest>());
        let codec = ProstCodec::<CommitRequest, CommitResponse>::default();
        let refused = grpc.client_streaming(nothing, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
        counters.increased("an incomplete request", &[("calls_refused_total{reason=\"incomplete\"}", 1.0)]);
    }

    redis::cmd("CLIENT").arg(&["PAUSE", "60000", "WRITE"]).exec(&mut server.connect()).unwrap();
    // One of the two calls waits for the store until it times out. It reached the gate, so it does not count as refused.
    let waits = |id: &'static str| client.reserve(block("team", id, "gpt-4o"));
    let (one, other) = tokio::join!(waits("r1"), waits("r2"));
    let codes = [one, other].map(|refused| refused.unwrap_err().code());
    assert!(codes.contains(&Code::Unavailable) && codes.contains(&Code::ResourceExhausted), "{codes:?}");
    counters.increased("one call above max_calls", &[("calls_refused_total{reason=\"overloaded\"}", 1.0)]);
}

/// No series names a team by default. With `metrics_teams = N`, at most N teams have a label.
#[tokio::test]
async fn teams_have_labels_only_up_to_metrics_teams() {
    for (option, named) in [("0", &[][..]), ("2", &["one", "two"][..])] {
        let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT, "--metrics-teams", option]);
        let client = sidecar.client();
        for team in ["one", "two", "three", "four"] {
            client.put_team(team_without_seat(&format!("needle-{team}"), 60)).await;
            let request = prompt_test(&format!("needle-{team}"), "needle-id", "gpt-4o");
            client.proceed(CheckAndReserveRequest { flow_id: "needle-flow".to_owned(), ..request }).await;
        }
        let scraped = scrape(&sidecar.probe());
        passes_promtool(&scraped);
        let reserved = |labels: &str| value(&scraped, &format!("tollgate_credits_total{{kind=\"reserved\"{labels}}}"));
        if named.is_empty() {
            assert!(!scraped.contains("needle"), "{scraped}");
            assert_eq!(reserved(""), 8.0);
            continue;
        }
        for team in named {
            assert_eq!(reserved(&format!(",team=\"needle-{team}\"")), 2.0);
        }
        assert_eq!(reserved(",team=\"other\""), 4.0);
        assert!(!scraped.contains("needle-three") && !scraped.contains("needle-flow"), "{scraped}");
    }
}

/// Starts a sidecar in this process that takes leases for every team. Leases and holds last this many seconds.
async fn with_leases(server: &Server, seconds: i64) -> (InProcess, Client, String) {
    let mut escrow = escrow(Leasing::AtOnce);
    (escrow.terms.term_ms, escrow.terms.hold_ms) = (seconds * 1_000, seconds * 1_000);
    let probe = Some("127.0.0.1:0".parse().unwrap());
    let options = ServeOptions { store: server.location(), escrow, probe, ..ServeOptions::default() };
    let sidecar = InProcess::start(options).await.unwrap();
    let client = Client::of(&sidecar.listen_address().to_string(), &sidecar.admin_address().to_string());
    let probe = sidecar.probe_address().unwrap().to_string();
    (sidecar, client, probe)
}

/// Returns a call with a hold of this many seconds.
fn held(id: &str, seconds: i64) -> CheckAndReserveRequest {
    let hold_for = Some(prost_types::Duration { seconds, nanos: 0 });
    CheckAndReserveRequest { hold_for, ..prompt_test("team", id, "gpt-4o") }
}

fn leases(event: &str) -> String {
    format!("tollgate_leases_total{{event=\"{event}\"}}")
}

// The scrape blocks its thread while this process answers it, so the test needs a second thread.
#[tokio::test(flavor = "multi_thread")]
async fn lease_metrics_follow_a_lease_from_grant_to_return() {
    let server = Server::start(Engine::Redis);
    let (sidecar, client, probe) = with_leases(&server, 60).await;
    client.put_team(team_without_seat("team", 10_000)).await;
    let mut calls = 0;
    let scraped = loop {
        calls += 1;
        client.proceed(held(&format!("r{calls}"), 60)).await;
        let scraped = scrape(&probe);
        // The first leases cover one call only and leave no credits.
        if value(&scraped, "tollgate_leased_credits") > 0.0 {
            break scraped;
        }
        assert!(calls < 1_000, "{scraped}");
    };
    let (last, calls) = (calls, f64::from(calls));
    let credits = |kind| format!("tollgate_credits_total{{kind=\"{kind}\"}}");
    assert_eq!(value(&scraped, &credits("reserved")), 2.0 * calls);
    assert!(value(&scraped, "tollgate_leases{state=\"in_hand\"}") >= 1.0, "{scraped}");
    assert!(value(&scraped, &leases("granted")) >= 1.0, "{scraped}");
    let open = value(&scraped, "tollgate_open_reservations");
    assert!(open >= 1.0 && open <= calls, "{scraped}");
    assert!(value(&scraped, "tollgate_store_duration_seconds_count{call=\"write\"}") > 0.0);
    assert!(value(&scraped, "tollgate_cache_lookups_total{result=\"hit\"}") > 0.0);
    for call in 1..=last {
        client.commit("team", &format!("r{call}"), &[]).await.unwrap();
    }
    let scraped = scrape(&probe);
    assert_eq!(value(&scraped, &credits("committed")), 2.0 * calls);
    assert_eq!(value(&scraped, "tollgate_open_reservations"), 0.0);

    client.put_team(team_without_seat("team", 20_000)).await;
    let all_are_back = || async {
        let scraped = scrape(&probe);
        let held = value(&scraped, "tollgate_leases{state=\"in_hand\"}");
        let came_and_went = value(&scraped, &leases("granted")) == value(&scraped, &leases("given_back"));
        (held == 0.0 && came_and_went).then_some(())
    };
    wait_for("the leases of the terms before", all_are_back).await;
    sidecar.shutdown().await;
}

/// The sidecar that finds the lease of a lost sidecar counts it as reclaimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_a_lost_sidecar_counts_as_reclaimed() {
    let server = Server::start(Engine::Redis);
    let (gone, client, probe) = with_leases(&server, 2).await;
    client.put_team(team_without_seat("team", 10_000)).await;
    let granted = || async {
        client.proceed(held(&uuid::Uuid::new_v4().to_string(), 2)).await;
        (value(&scrape(&probe), &leases("granted")) >= 1.0).then_some(())
    };
    wait_for("a lease", granted).await;
    drop(gone);
    let (sidecar, _, probe) = with_leases(&server, 2).await;
    assert_eq!(value(&scrape(&probe), &leases("reclaimed")), 0.0);
    let reclaimed = || async {
        sidecar.gate().sweep().await.unwrap();
        (value(&scrape(&probe), &leases("reclaimed")) >= 1.0).then_some(())
    };
    wait_for("its end", reclaimed).await;
    sidecar.shutdown().await;
}

#[tokio::test]
async fn transactions_without_an_answer_are_counted() {
    let mut server = Server::start(Engine::Redis);
    let sidecar = Sidecar::start_with(&server.location(), &[ANY_PORT]);
    let client = sidecar.client();
    client.put_team(team_without_seat("team", 60)).await;
    let failed = |scraped: &str| value(scraped, "tollgate_store_errors_total{kind=\"unavailable\"}");
    assert_eq!(failed(&scrape(&sidecar.probe())), 0.0);
    server.kill();
    client.reserve(block("team", "r1", "gpt-4o")).await.unwrap_err();
    assert!(failed(&scrape(&sidecar.probe())) >= 1.0);
}
