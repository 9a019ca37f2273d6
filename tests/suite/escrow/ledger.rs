//! The books at the end, as every sidecar returns them and as they are in the server.

use std::collections::BTreeMap;

use redis::Connection;

use super::{
    fleet::{ChaosTeam, TEAMS},
    sampler::Counters,
};
use crate::suite::support::{client::Client, servers::Server, wait_for};

/// Credits that each commit was answered, by team and reservation.
pub(super) type Commits = BTreeMap<(&'static str, String), i64>;

/// Waits until all held and leased credits have come back. Then checks that the books of every team, at every sidecar
/// and in the server, match the answers to the commits.
pub(super) async fn check_books(server: &Server, clients: &[Client], commits: &Commits) {
    let mut connection = server.connect();
    for team in &TEAMS {
        let mut last = None;
        wait_for("credits of leases and of abandoned reservations to come back", || {
            let counters = Counters::read(&mut connection, team.id).unwrap();
            let left = ["holds", "leases"].map(|index| left_in(&mut connection, team, index));
            let is_back = (counters.held, counters.leased) == (0, 0) && left.iter().all(Vec::is_empty);
            // If the wait fails, this shows what did not come back.
            let now = Some((counters, left));
            if now != last {
                println!("{}: {now:?}", team.id);
                last = now;
            }
            async move { is_back.then_some(()) }
        })
        .await;
        for client in clients {
            check_team(client, team, commits).await;
        }
        check_leases(&mut connection, team);
        check_records(&mut connection, team, commits);
    }
}

async fn check_team(client: &Client, team: &ChaosTeam, commits: &Commits) {
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

    // One block for each allotment that was exceeded, and no more.
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

/// Records of leases may remain only to tell late commits that the lease was reclaimed.
fn check_leases(connection: &mut Connection, team: &ChaosTeam) {
    for key in keys(connection, &format!("tollgate:{{{}}}:lease:*", team.id)) {
        let reclaimed: Option<i64> = redis::cmd("HGET").arg(&key).arg("reclaimed").query(connection).unwrap();
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query(connection).unwrap();
        assert!(reclaimed == Some(1) && ttl_ms > 0, "{key}: reclaimed {reclaimed:?}, goes in {ttl_ms} ms");
    }
}

/// Each acknowledged commit has a record that matches its answer. No other reservation is committed, and none is open.
fn check_records(connection: &mut Connection, team: &ChaosTeam, commits: &Commits) {
    let prefix = format!("tollgate:{{{}}}:reservation:", team.id);
    let mut committed = Commits::new();
    for some in keys(connection, &format!("{prefix}*")).chunks(500) {
        let records: Vec<String> = redis::cmd("MGET").arg(some).query(connection).unwrap();
        for (key, record) in some.iter().zip(records) {
            let fields: Vec<_> = record.split('|').collect();
            match fields[2] {
                "committed" => {
                    // The last five fields are the credits, units, model, lateness and time of the charge.
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
