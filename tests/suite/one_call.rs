//! The cost of a call: the commands that a real server receives.

use tollgate::proto::v1::{CheckAndReserveRequest, Trigger};

use crate::suite::support::{
    client::{Client, block, professional_team, prompt_test, team_without_seat},
    monitor::Monitor,
    servers::{Engine, Server},
    sidecar::Sidecar,
    wait_until,
};

const TEAM: &str = "team";

/// A sidecar with one cached team, on a server whose received commands are monitored.
struct Watched {
    client: Client,
    monitor: Monitor,
    _sidecar: Sidecar,
    server: Server,
}

impl Watched {
    async fn start(engine: Engine) -> Self {
        let server = Server::start(engine);
        let mut monitor = Monitor::of(&server);
        let sidecar = Sidecar::start(&server.location());
        // The sidecar lists all teams once for its startup banner and once for its first sweep. The next sweep is a minute later.
        let mut lists = 0;
        wait_until("the sidecar swept", || {
            lists += monitor.take_all().iter().filter(|line| line.contains("{!teams}")).count();
            lists >= 2
        });
        let client = sidecar.client();
        client.put_team(team_without_seat(TEAM, 100)).await;
        monitor.take();
        Self { client, monitor, _sidecar: sidecar, server }
    }

    /// Asserts that the server received exactly one command: a script call for this team.
    #[track_caller]
    fn cost_one_call(&mut self, what: &str) {
        let received = self.monitor.take();
        let is_one_call = matches!(&received[..], [only] if only.contains("\"EVALSHA\"") && only.contains("{team}"));
        assert!(is_one_call, "{what} cost {received:#?}");
    }

    /// Asserts that the server received no command.
    #[track_caller]
    fn cost_nothing(&mut self, what: &str) {
        let received = self.monitor.take();
        assert!(received.is_empty(), "{what} cost {received:#?}");
    }
}

/// A reserve and a commit cost one script call each and send no other command to the server.
#[tokio::test]
async fn a_reserve_and_a_commit_cost_one_script_call_each() {
    for engine in [Engine::Redis, Engine::Valkey] {
        let mut watched = Watched::start(engine).await;
        let client = watched.client.clone();
        let first = client.proceed(block(TEAM, "first", "gpt-4o")).await;
        watched.cost_one_call("the first reserve of a cycle");
        client.proceed(block(TEAM, "second", "gpt-4o")).await;
        watched.cost_one_call("a reserve");
        client.proceed(block(TEAM, "second", "gpt-4o")).await;
        watched.cost_one_call("a repeated reserve");
        let dry_run = CheckAndReserveRequest { dry_run: true, ..block(TEAM, "third", "gpt-4o") };
        client.proceed(dry_run).await;
        watched.cost_one_call("a dry run");
        client.proceed(prompt_test(TEAM, "test", "gpt-4o")).await;
        watched.cost_one_call("the test of a prompt");

        client.commit(TEAM, "first", &first.grant).await.unwrap();
        watched.cost_one_call("a commit with its grant");
        client.commit(TEAM, "second", &[]).await.unwrap();
        watched.cost_one_call("a commit without a grant on the sidecar that reserved it");
        client.release(TEAM, "test", &[]).await.unwrap();
        watched.cost_one_call("a release");
    }
}

/// A repeated commit or release that carries its grant costs one script call.
#[tokio::test]
async fn a_repeated_settlement_with_a_grant_costs_one_call() {
    let mut watched = Watched::start(Engine::Redis).await;
    let client = watched.client.clone();
    let committed = client.proceed(block(TEAM, "committed", "gpt-4o")).await;
    let released = client.proceed(block(TEAM, "released", "gpt-4o")).await;
    client.commit(TEAM, "committed", &committed.grant).await.unwrap();
    client.release(TEAM, "released", &released.grant).await.unwrap();
    watched.monitor.take();
    assert!(client.commit(TEAM, "committed", &committed.grant).await.unwrap().replayed);
    watched.cost_one_call("a repeated commit");
    assert!(client.release(TEAM, "released", &released.grant).await.unwrap().replayed);
    watched.cost_one_call("a repeated release");
}

#[tokio::test]
async fn a_commit_with_a_grant_costs_one_call_on_any_sidecar() {
    let mut watched = Watched::start(Engine::Redis).await;
    let granted = watched.client.proceed(block(TEAM, "first", "gpt-4o")).await;
    watched.cost_one_call("the reserve");
    let other = Sidecar::start(&watched.server.location());
    // Its first sweep reads the team too, and reads the team's cycles last.
    wait_until("the other sidecar swept", || watched.monitor.take().iter().any(|line| line.contains(":cycles")));
    other.client().commit(TEAM, "first", &granted.grant).await.unwrap();
    watched.cost_one_call("a commit on a sidecar that never saw the team");
}

/// A Suspend that the store has verified answers the same call, and any more expensive one, without another call to the store.
#[tokio::test]
async fn a_cached_suspend_answers_without_a_store_call() {
    let mut watched = Watched::start(Engine::Redis).await;
    let client = watched.client.clone();
    client.put_team(team_without_seat(TEAM, 4)).await;
    client.suspend(block(TEAM, "first", "gpt-3.5")).await;
    watched.monitor.take();
    client.suspend(block(TEAM, "first", "gpt-3.5")).await;
    watched.cost_nothing("the same call");
    client.suspend(block(TEAM, "second", "gpt-4")).await;
    watched.cost_nothing("a more expensive call");
    let other_run = CheckAndReserveRequest { run_id: "other".to_owned(), ..block(TEAM, "third", "gpt-3.5") };
    client.suspend(other_run).await;
    watched.cost_nothing("a call of another run, without a seat");
    client.proceed(block(TEAM, "fourth", "gpt-4o")).await;
    watched.cost_one_call("a cheaper call, which the allotment covers");
}

/// With a paid seat, a cached Suspend answers only for its own run and for prompt tests. Calls of current runs go to the store.
#[tokio::test]
async fn with_a_seat_a_cached_suspend_covers_its_run_and_tests() {
    let mut watched = Watched::start(Engine::Redis).await;
    let client = watched.client.clone();
    let of_run =
        |run: &str, id: &str, model: &str| CheckAndReserveRequest { run_id: run.to_owned(), ..block(TEAM, id, model) };
    client.put_team(professional_team(TEAM, 4)).await;
    client.proceed(of_run("current", "first", "gpt-4o")).await;
    client.suspend(of_run("new", "second", "gpt-3.5")).await;
    watched.monitor.take();
    client.suspend(of_run("new", "second", "gpt-4")).await;
    watched.cost_nothing("a more expensive call of the suspended run");
    let test = CheckAndReserveRequest { trigger: Trigger::Test.into(), ..of_run("current", "third", "gpt-4") };
    client.suspend(test).await;
    watched.cost_nothing("a test");
    client.proceed(of_run("current", "fourth", "gpt-4")).await;
    watched.cost_one_call("a call of a current run, which completes past the limit");
}

#[tokio::test]
async fn a_server_without_the_script_receives_it_once() {
    let mut watched = Watched::start(Engine::Redis).await;
    let client = watched.client.clone();
    // A background call may load the script first. The reserve then finds it, and the number of loads is the same.
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut watched.server.connect()).unwrap();
    client.proceed(block(TEAM, "first", "gpt-4o")).await;
    let loads = watched.monitor.take().iter().filter(|line| line.contains("\"LOAD\"")).count();
    assert_eq!(loads, 1);
    client.proceed(block(TEAM, "second", "gpt-4o")).await;
    watched.cost_one_call("the next reserve");
    assert_eq!(client.books(TEAM).await.balance.held, 4);
}
