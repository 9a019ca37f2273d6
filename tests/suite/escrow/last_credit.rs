//! Many sidecars use up the credits of one team. All credits must be used before a call is suspended, although sidecars
//! hold leases.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use futures::future::join_all;
use tokio::sync::Barrier;
use tollgate::proto::v1::check_and_reserve_response::Decision;

use crate::suite::support::{
    client::{Client, prompt_test, team_without_seat, until_answered},
    servers::{Engine, Server},
    sidecar::Sidecar,
};

const TEAM: &str = "team";
const SIDECARS: usize = 8;

/// Number of clients per sidecar.
const CLIENTS: usize = 6;

const INCLUDED: i64 = 20_000;

/// The models that clients call in turn, with their prices. The last one is the cheapest, and the only one that clients
/// call in the end.
type Models = &'static [(&'static str, i64)];

/// All credits are used before a call is suspended.
#[tokio::test(flavor = "multi_thread")]
async fn all_credits_are_used_before_a_suspend() {
    drained_to_the_last_credit(&[("gpt-3.5", 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_credits_are_for_the_calls_that_are_small_enough() {
    drained_to_the_last_credit(&[("gpt-4", 25), ("gpt-4o", 2)]).await;
}

async fn drained_to_the_last_credit(models: Models) {
    let server = Server::start(Engine::Redis);
    let sidecars: Vec<_> = (0..SIDECARS).map(|_| Sidecar::start_with(&server.location(), &["--escrow=auto"])).collect();
    sidecars[0].client().put_team(team_without_seat(TEAM, INCLUDED)).await;
    let turns = Arc::new(AtomicI64::new(0));
    let start = Arc::new(Barrier::new(SIDECARS * CLIENTS));
    let clients = (0..SIDECARS * CLIENTS).map(|number| {
        let client = Drain { number, client: sidecars[number % SIDECARS].client(), models, turns: turns.clone() };
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            client.until_suspended().await
        })
    });
    let drained: Vec<_> = join_all(clients.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();

    let first_suspended = drained.iter().map(|drained| drained.suspended).min().unwrap();
    let granted = drained.iter().flat_map(|drained| &drained.granted);
    let (mut before, mut after) = (0, 0);
    for (begun, credits) in granted {
        *(if *begun < first_suspended { &mut before } else { &mut after }) += credits;
    }
    let smallest = models.last().unwrap().1;
    assert!(INCLUDED - before < smallest, "{before} granted to calls before the first suspension, {after} later");
    let books = sidecars[0].client().books(TEAM).await;
    assert_eq!((books.balance.held, before + after), (before + after, before));

    // The credits were drawn from leases: what was not settled is still leased.
    let cycle: Vec<String> = redis::cmd("KEYS").arg("tollgate:{team}:cycle:*").query(&mut server.connect()).unwrap();
    let leased: i64 = redis::cmd("HGET").arg(&cycle[0]).arg("leased").query(&mut server.connect()).unwrap();
    assert!(leased > INCLUDED / 4, "only {leased} credits were drawn from leases");
}

/// One client.
struct Drain {
    number: usize,
    client: Client,
    models: Models,
    /// Orders the events of all clients.
    turns: Arc<AtomicI64>,
}

/// What one client was answered.
#[derive(Debug)]
struct Drained {
    /// When each granted call began, and its credits.
    granted: Vec<(i64, i64)>,
    /// When a call of the cheapest model was suspended.
    suspended: i64,
}

impl Drain {
    async fn until_suspended(self) -> Drained {
        let mut granted = Vec::new();
        let mut models = self.models;
        for call in 0.. {
            let (model, credits) = models[call % models.len()];
            let id = format!("r-{}-{call}", self.number);
            let begun = self.turns.fetch_add(1, Ordering::SeqCst);
            let decision = until_answered("a reserve", || self.client.reserve(prompt_test(TEAM, &id, model))).await;
            match decision {
                Decision::Proceed(_) => granted.push((begun, credits)),
                Decision::Suspend(_) if models.len() > 1 => models = &models[1..],
                Decision::Suspend(_) => {
                    return Drained { granted, suspended: self.turns.fetch_add(1, Ordering::SeqCst) };
                }
            }
        }
        unreachable!("it is suspended in the end")
    }
}
