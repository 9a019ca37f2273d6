//! The books after the chaos: by every sidecar, and directly on the server.

use std::collections::BTreeMap;

use redis::Connection;

use super::{
    fleet::{ChaosTeam, TEAMS},
    sampler::Counters,
};
use crate::suite::support::{client::Client, servers::Server, wait_for};

/// What the commits were answered, by team and reservation.
pub(super) type Commits = BTreeMap<(&'static str, String), i64>;

/// Everything comes back, and then every team's books, by every sidecar and on the server, are what the commits were answered.
pub(super) async fn are_right(server: &Server, clients: &[Client], commits: &Commits) {
    let mut connection = server.connect();
    for team in &TEAMS {
        let mut last = None;
        wait_for("credits of leases and of abandoned reservations to come back", || {
            let counters = Counters::read(&mut connection, team.id).unwrap();
            let left = ["holds", "leases"].map(|index| left_in(&mut connection, team, index));
            let is_back = (counters.held, counters.leased) == (0, 0) && left.iter().all(Vec::is_empty);
            // Whoever reads of a failure sees what did not come back.
            let now = Some((counters, left));
            if now != last {
                println!("{}: {now:?}", team.id);
                last = now;
            }
            async move { is_back.then_some(()) }
        })
        .await;
        for client in clients {
            team_is_right(client, team, commits).await;
        }
        no_lease_is_left(&mut connection, team);
        records_are_right(&mut connection, team, commits);
    }
}

async fn team_is_right(client: &Client, team: &ChaosTeam, commits: &Commits) {
    let of_team: Vec<i64> = commits.iter().filter(|((of, _), _)| *of == team.id).map(|(_, charged)| *charged).collect();
    let (calls, credits) = (of_team.len() as i64, of_team.iter().sum::<i64>());
    let books = client.books(team.id).await;
    let balance = books.balance;
    assert_eq!((books.calls, books.credits), (calls, credits), "{}: {balance:?}", team.id);
    assert_eq!(balance.used + balance.run_completion + balance.above_hold, credits, "{}: {balance:?}", team.id);
    assert_eq!((balance.held, balance.waived), (0, 0), "{}: {balance:?}", team.id);
    assert!(balance.used <= balance.included + balance.overage, "{}: {balance:?}", team.id);
    assert_eq!(balance.remaining, balance.included + balance.overage - balance.used, "{}: {balance:?}", team.id);
    assert!(team.has_seat || balance.run_completion == 0, "{}: {balance:?}", team.id);

    // One block for each allotment that was exceeded, and none more.
    let exceeded = (balance.used - balance.included).max(0);
    let blocks = client.blocks(team.id).await;
    assert_eq!(blocks.len() as i64, (exceeded + 999) / 1_000, "{}: {balance:?}", team.id);
    assert!(blocks.iter().copied().eq(1..=blocks.len() as u32), "{}: {blocks:?}", team.id);
    assert!(blocks.len() as u32 <= team.cap_blocks.unwrap_or_default(), "{}: {balance:?}", team.id);
    assert_eq!(balance.overage, 1_000 * blocks.len() as i64, "{}", team.id);
}

fn left_in(connection: &mut Connection, team: &ChaosTeam, index: &str) -> Vec<String> {
    let key = format!("tollgate:{{{}}}:{index}", team.id);
    redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(connection).unwrap()
}

/// What is left of leases is only what tells late commits that their credits came back already.
fn no_lease_is_left(connection: &mut Connection, team: &ChaosTeam) {
    for key in keys(connection, &format!("tollgate:{{{}}}:lease:*", team.id)) {
        let reclaimed: Option<i64> = redis::cmd("HGET").arg(&key).arg("reclaimed").query(connection).unwrap();
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query(connection).unwrap();
        assert!(reclaimed == Some(1) && ttl_ms > 0, "{key}: reclaimed {reclaimed:?}, goes in {ttl_ms} ms");
    }
}

/// Each acknowledged commit has its record, which says what the answer said; no other reservation is committed, and none is open.
fn records_are_right(connection: &mut Connection, team: &ChaosTeam, commits: &Commits) {
    let prefix = format!("tollgate:{{{}}}:reservation:", team.id);
    let mut committed = Commits::new();
    for some in keys(connection, &format!("{prefix}*")).chunks(500) {
        let records: Vec<String> = redis::cmd("MGET").arg(some).query(connection).unwrap();
        for (key, record) in some.iter().zip(records) {
            let fields: Vec<_> = record.split('|').collect();
            match fields[2] {
                "committed" => {
                    // The last five are what was charged, its units, model and lateness, and when.
                    let charged = fields[fields.len() - 5].parse::<i64>().unwrap();
                    committed.insert((team.id, key[prefix.len()..].to_owned()), charged);
                }
                other => assert!(matches!(other, "released" | "expired"), "{key}: {record}"),
            }
        }
    }
    let mut expected = commits.clone();
    expected.retain(|(of, _), _| *of == team.id);
    let differs = |ours: &Commits, theirs: &Commits| {
        let differing = ours.iter().filter(|(id, charged)| theirs.get(*id) != Some(*charged));
        differing.take(5).map(|(id, charged)| format!("{id:?}: {charged}")).collect::<Vec<_>>()
    };
    let [too_many, too_few] = [differs(&committed, &expected), differs(&expected, &committed)];
    assert!(
        too_many.is_empty() && too_few.is_empty(),
        "recorded, not answered: {too_many:?}; the reverse: {too_few:?}"
    );
}

fn keys(connection: &mut Connection, pattern: &str) -> Vec<String> {
    redis::cmd("KEYS").arg(pattern).query(connection).unwrap()
}
