//! Many clients compete for a team that has too few credits for all of them: exactly as many calls proceed as the
//! credits allow.

use std::sync::Arc;

use futures::future::join_all;
use tollgate::proto::v1::{CheckAndReserveRequest, check_and_reserve_response::Decision};

use crate::suite::support::{
    client::{Books, Client, block, professional_team, prompt_test, team_without_seat, until_answered},
    kept::Kept,
    servers::{Engine, Server},
    sidecar::Sidecar,
};

const TASKS: usize = 64;

/// Number of attempts where most are refused, from memory or by the store.
const MANY: usize = 10_000;

/// Number of attempts where the commits are examined: a few more than may proceed.
const SOME: usize = 1_500;

/// Number of attempts that can proceed.
const ROOM: usize = 1_000;

/// Price of one attempt, a call of gpt-4o, in credits.
const PRICE: i64 = 2;

/// Credits for exactly [`ROOM`] attempts.
const INCLUDED: i64 = 2_000;

const TEAM: &str = "team";

#[tokio::test(flavor = "multi_thread")]
async fn two_sidecars_on_redis_grant_exactly_the_allotment() {
    let server = Server::start(Engine::Redis);
    exactly_the_room_proceeds(&two_sidecars(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_sidecars_with_leases_grant_exactly_the_allotment() {
    let server = Server::start(Engine::Redis);
    exactly_the_room_proceeds(&sidecars_with_leases::<4>(&server)).await;
    assert!(leased(&server) > 0, "no sidecar had a lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sidecars_on_valkey_grant_exactly_the_allotment() {
    let server = Server::start(Engine::Valkey);
    exactly_the_room_proceeds(&two_sidecars(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sidecar_on_a_file_grants_exactly_the_allotment() {
    let kept = Kept::embedded();
    exactly_the_room_proceeds(&[kept.sidecar()]).await;
}

/// Reservations that either sidecar commits during the race are charged once, and make no room for further calls.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_charge_once_and_make_no_room() {
    let server = Server::start(Engine::Redis);
    made_no_room_by_commits(&two_sidecars(&server)).await;
}

/// The same holds for reservations that were opened from leases.
#[tokio::test(flavor = "multi_thread")]
async fn commits_from_leases_charge_once_and_make_no_room() {
    let server = Server::start(Engine::Valkey);
    made_no_room_by_commits(&sidecars_with_leases::<3>(&server)).await;
    assert!(leased(&server) > 0, "no sidecar had a lease");
}

async fn made_no_room_by_commits(sidecars: &[Sidecar]) {
    sidecars[0].client().put_team(team_without_seat(TEAM, INCLUDED)).await;
    let granted = race(sidecars, SOME, block, Committing::HalfOfTheTasks).await;
    assert_eq!(granted.iter().map(|task| task.proceeded).sum::<usize>(), ROOM);
    let committed = PRICE * granted.iter().map(|task| task.committed as i64).sum::<i64>();
    let Books { balance, credits, .. } = sidecars[0].client().books(TEAM).await;
    assert!(committed > 0);
    assert_eq!((balance.used, balance.held, balance.remaining), (committed, INCLUDED - committed, 0));
    assert_eq!(credits, committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_buy_an_overage_block_once() {
    let server = Server::start(Engine::Redis);
    let sidecars = two_sidecars(&server);
    let client = sidecars[0].client();
    client.put_team(professional_team(TEAM, INCLUDED - 1_000)).await;
    client.set_overages(TEAM, true, Some(1)).await;
    let granted = race(&sidecars, SOME, prompt_test, Committing::AllTasks).await;
    assert_eq!(granted.iter().map(|task| task.committed).sum::<usize>(), ROOM);
    let Books { balance, credits, calls } = client.books(TEAM).await;
    assert_eq!((balance.used, balance.overage, balance.held, balance.remaining), (INCLUDED, 1_000, 0, 0));
    assert_eq!((credits, calls), (INCLUDED, ROOM as i64));
    assert_eq!(client.blocks(TEAM).await, [1]);
}

/// Starts two sidecars that write every call through.
fn two_sidecars(server: &Server) -> [Sidecar; 2] {
    std::array::from_fn(|_| Sidecar::start_with(&server.location(), &["--escrow=off"]))
}

fn sidecars_with_leases<const COUNT: usize>(server: &Server) -> [Sidecar; COUNT] {
    std::array::from_fn(|_| Sidecar::start_with(&server.location(), &["--escrow=auto"]))
}

/// Returns the credits that are leased and not settled.
fn leased(server: &Server) -> i64 {
    let mut connection = server.connect();
    let cycles: Vec<String> = redis::cmd("KEYS").arg("tollgate:{team}:cycle:*").query(&mut connection).unwrap();
    redis::cmd("HGET").arg(&cycles[0]).arg("leased").query(&mut connection).unwrap()
}

async fn exactly_the_room_proceeds(sidecars: &[Sidecar]) {
    let client = sidecars[0].client();
    client.put_team(team_without_seat(TEAM, INCLUDED)).await;
    let granted = race(sidecars, MANY, block, Committing::NoTask).await;
    assert_eq!(granted.iter().map(|task| task.proceeded).sum::<usize>(), ROOM);
    let Books { balance, calls, .. } = client.books(TEAM).await;
    assert_eq!((balance.used, balance.held, balance.remaining, calls), (0, INCLUDED, 0, 0));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Committing {
    NoTask,
    HalfOfTheTasks,
    AllTasks,
}

/// The results of one task's attempts.
#[derive(Default)]
struct Task {
    proceeded: usize,
    committed: usize,
}

/// Runs the attempts in concurrent tasks that are spread over the sidecars.
async fn race(
    sidecars: &[Sidecar],
    attempts: usize,
    request: fn(&str, &str, &str) -> CheckAndReserveRequest,
    committing: Committing,
) -> Vec<Task> {
    let start = Arc::new(tokio::sync::Barrier::new(TASKS));
    let tasks = (0..TASKS).map(|task| {
        let own = sidecars[task % sidecars.len()].client();
        let other = sidecars[(task + 1) % sidecars.len()].client();
        let commits = match committing {
            Committing::NoTask => false,
            // Two neighbours of each four, so that each sidecar has some.
            Committing::HalfOfTheTasks => task % 4 < 2,
            Committing::AllTasks => true,
        };
        let start = Arc::clone(&start);
        tokio::spawn(async move {
            start.wait().await;
            let mut done = Task::default();
            for attempt in (task..attempts).step_by(TASKS) {
                let id = format!("r-{attempt}");
                let reserve = || own.reserve(request(TEAM, &id, "gpt-4o"));
                if let Decision::Proceed(proceed) = until_answered("a reserve", reserve).await {
                    assert_eq!(proceed.credits, PRICE);
                    done.proceeded += 1;
                    if commits {
                        commit_on_both(&own, &other, &id, &proceed.grant).await;
                        done.committed += 1;
                    }
                }
            }
            done
        })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

/// Commits the same reservation by two clients at once. Exactly one of the commits is a replay.
async fn commit_on_both(own: &Client, other: &Client, id: &str, grant: &[u8]) {
    let (one, another) = tokio::join!(
        until_answered("a commit", || own.commit(TEAM, id, grant)),
        until_answered("a commit", || other.commit(TEAM, id, grant)),
    );
    assert_eq!((one.credits, another.credits), (PRICE, PRICE));
    assert!(one.replayed != another.replayed, "one commit of {id} charged, and one did not");
}
