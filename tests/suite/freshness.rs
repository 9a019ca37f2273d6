//! What one sidecar sees of another's changes. After a change that makes room, a Suspend may be wrong for one second at
//! most. A Proceed is never wrong. The sidecar that made the change sees it at once.

use futures::future::join_all;
use tollgate::{
    clock::Clock,
    proto::v1::{Basis, CheckAndReserveRequest, Proceed, SuspendReason, Team, check_and_reserve_response::Decision},
};

use crate::suite::support::{
    client::{Client, block, professional_team, prompt_test, team_without_seat},
    servers::{Engine, Server},
    sidecar::Sidecar,
    wait_for,
};

/// How long a refusal may be remembered that is no longer true, plus the time that the measurement may take.
const WRONG_SUSPEND_MS: i64 = 1_000 + 2;

/// A change after which a refused call of gpt-4 can proceed.
#[derive(Clone, Copy, Debug)]
enum Relief {
    MoreIncluded,
    PaidSeat,
    Overages,
    HigherCap,
    Release,
    CheaperCommit,
}

const RELIEFS: [Relief; 6] = [
    Relief::MoreIncluded,
    Relief::PaidSeat,
    Relief::Overages,
    Relief::HigherCap,
    Relief::Release,
    Relief::CheaperCommit,
];

/// Two sidecars on one server.
struct Pair {
    near: Client,
    far: Client,
    _sidecars: [Sidecar; 2],
    _server: Server,
}

impl Pair {
    fn start() -> Self {
        let server = Server::start(Engine::Redis);
        let sidecars = [Sidecar::start(&server.location()), Sidecar::start(&server.location())];
        let [near, far] = [sidecars[0].client(), sidecars[1].client()];
        Self { near, far, _sidecars: sidecars, _server: server }
    }
}

/// After another sidecar has made room, a call is wrongly suspended for one second at most.
#[tokio::test(flavor = "multi_thread")]
async fn suspend_ends_within_a_second_of_a_change_elsewhere() {
    let pair = Pair::start();
    let all = RELIEFS.map(|relief| proceeds_soon_after(relief, &pair.near, &pair.far));
    join_all(all).await;
}

/// A sidecar that has made room itself lets the next call proceed.
#[tokio::test(flavor = "multi_thread")]
async fn sidecar_that_made_a_change_sees_it_at_once() {
    let pair = Pair::start();
    for relief in RELIEFS {
        let team = format!("{relief:?}");
        let wanted = suspended_until(relief, &team, &pair.near).await;
        make_room(relief, &team, &pair.near).await;
        pair.near.proceed(wanted).await;
    }
}

/// After a hold has run out, every sidecar lets a call proceed within one second.
#[tokio::test(flavor = "multi_thread")]
async fn expired_hold_makes_room_everywhere_within_a_second() {
    let pair = Pair::start();
    pair.far.put_team(team_without_seat("team", 30)).await;
    let hold_for = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let held = pair.far.proceed(CheckAndReserveRequest { hold_for, ..block("team", "held", "gpt-4") }).await;
    let expires_at = held.expires_at.unwrap();
    let expires_at_ms = expires_at.seconds * 1_000 + i64::from(expires_at.nanos) / 1_000_000;
    pair.near.suspend(block("team", "wanted", "gpt-4")).await;
    let proceeded = wait_for("the hold to run out", || async {
        let asked_at_ms = Clock::System.now_ms();
        match pair.near.reserve(block("team", "wanted", "gpt-4")).await.unwrap() {
            Decision::Proceed(proceed) => Some(proceed),
            Decision::Suspend(_) => {
                let wrong_ms = asked_at_ms - expires_at_ms;
                assert!(wrong_ms <= WRONG_SUSPEND_MS, "suspended {wrong_ms} ms after the hold ran out");
                None
            }
        }
    });
    assert_eq!(proceeded.await.basis(), Basis::Allotment);
}

/// One sidecar suspends a call, and another one makes room. Calls the first one until it lets the call proceed.
async fn proceeds_soon_after(relief: Relief, near: &Client, far: &Client) -> Proceed {
    let team = format!("{relief:?}");
    let wanted = suspended_until(relief, &team, near).await;
    make_room(relief, &team, far).await;
    let changed_at_ms = Clock::System.monotonic_ms();
    wait_for("the change to be seen", || async {
        let asked_at_ms = Clock::System.monotonic_ms();
        match near.reserve(wanted.clone()).await.unwrap() {
            Decision::Proceed(proceed) => Some(proceed),
            Decision::Suspend(_) => {
                let wrong_ms = asked_at_ms - changed_at_ms;
                assert!(wrong_ms <= WRONG_SUSPEND_MS, "{relief:?}: suspended {wrong_ms} ms after the change");
                None
            }
        }
    })
    .await
}

/// Makes a team whose call is suspended until there is relief. The second refusal comes from the sidecar's memory.
async fn suspended_until(relief: Relief, team: &str, client: &Client) -> CheckAndReserveRequest {
    let wanted = prompt_test(team, "wanted", "gpt-4");
    match relief {
        Relief::Overages | Relief::HigherCap => client.put_team(professional_team(team, 30)).await,
        _ => client.put_team(team_without_seat(team, 30)).await,
    }
    if matches!(relief, Relief::HigherCap) {
        client.set_overages(team, true, Some(0)).await;
    }
    client.proceed(prompt_test(team, "held", "gpt-4")).await;
    for _ in 0..2 {
        client.suspend(wanted.clone()).await;
    }
    wanted
}

async fn make_room(relief: Relief, team: &str, client: &Client) {
    match relief {
        Relief::MoreIncluded => client.put_team(team_without_seat(team, 50)).await,
        Relief::PaidSeat => {
            let seat = Team { paid_seat: true, included_credits: None, ..team_without_seat(team, 0) };
            client.put_team(seat).await;
        }
        Relief::Overages => client.set_overages(team, true, None).await,
        Relief::HigherCap => client.set_overages(team, true, Some(1)).await,
        Relief::Release => drop(client.release(team, "held", &[]).await.unwrap()),
        Relief::CheaperCommit => {
            let request = tollgate::proto::v1::CommitRequest {
                team_id: team.to_owned(),
                reservation_id: "held".to_owned(),
                model: Some("gpt-4o".to_owned()),
                ..Default::default()
            };
            client.quota.clone().commit(request).await.unwrap();
        }
    }
}

/// A call right after another sidecar has changed the team's terms is priced by the new terms.
#[tokio::test]
async fn next_proceed_has_the_terms_just_changed_elsewhere() {
    let pair = Pair::start();
    pair.near.put_team(team_without_seat("team", 100)).await;
    assert_eq!(pair.near.proceed(prompt_test("team", "on-free", "dall-e-3")).await.credits, 10);
    let basic = Team { plan: "basic".to_owned(), ..team_without_seat("team", 100) };
    pair.far.put_team(basic).await;
    assert_eq!(pair.near.proceed(prompt_test("team", "on-basic", "dall-e-3")).await.credits, 5);
    pair.far.put_team(team_without_seat("team", 100)).await;
    assert_eq!(pair.near.proceed(prompt_test("team", "on-free-again", "dall-e-3")).await.credits, 10);
}

/// Credits that another sidecar has just taken away are never granted, even if this sidecar remembers them.
#[tokio::test]
async fn credits_just_removed_elsewhere_are_never_granted() {
    let pair = Pair::start();
    let Pair { near, far, .. } = &pair;
    near.put_team(team_without_seat("less", 100)).await;
    near.proceed(block("less", "before", "gpt-4")).await;
    far.put_team(team_without_seat("less", 40)).await;
    near.suspend(block("less", "after", "gpt-4")).await;
    near.proceed(block("less", "within", "gpt-4o-mini")).await;

    near.put_team(professional_team("overages", 10)).await;
    near.set_overages("overages", true, None).await;
    let before = near.proceed(prompt_test("overages", "before", "gpt-4")).await;
    assert_eq!(before.basis(), Basis::Overage);
    far.set_overages("overages", false, None).await;
    near.suspend(prompt_test("overages", "after", "gpt-4")).await;

    near.put_team(professional_team("seat", 10)).await;
    near.proceed(block("seat", "first", "gpt-4o")).await;
    let before = near.proceed(block("seat", "before", "gpt-4")).await;
    assert_eq!(before.basis(), Basis::RunCompletion);
    far.put_team(team_without_seat("seat", 10)).await;
    let after = near.suspend(block("seat", "after", "gpt-4")).await;
    assert_eq!(after.reason(), SuspendReason::BlocksStopped);
}
