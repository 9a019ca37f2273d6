//! The metrics of gates about leases, the store and the cache: each event is counted once, when it happens.

use std::{collections::BTreeMap, sync::Arc};

use tollgate::{
    clock::ManualClock,
    domain::{keys, plan::Plan},
    gate::Gate,
    metrics::Metrics,
    transaction::{Read, Transaction, Write},
};

use super::stage::{HOLD_MS, MARGIN_MS, Sidecars, TERM_MS, account, call, commit, id, open, reserve, settings, team};
use crate::suite::support::{Leasing, catch_up};

/// A gate's metrics.
struct Counted {
    metrics: Metrics,
    lines: BTreeMap<String, f64>,
}

impl Counted {
    fn of(metrics: Metrics) -> Self {
        let mut counted = Self { metrics, lines: BTreeMap::new() };
        counted.lines = counted.now();
        counted
    }

    /// Returns all lines except those of durations. Their counts remain.
    fn now(&self) -> BTreeMap<String, f64> {
        let text = self.metrics.text().unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("tollgate_")?.rsplit_once(' '));
        let lines = lines.filter(|(line, _)| !line.contains("_seconds_sum") && !line.contains("_seconds_bucket"));
        lines.map(|(line, value)| (line.to_owned(), value.parse().unwrap())).collect()
    }

    fn level(&self, line: &str) -> f64 {
        *self.now().get(line).unwrap_or_else(|| panic!("no {line}"))
    }

    /// Checks that since the last check exactly these lines of the families have changed, by these amounts.
    #[track_caller]
    fn moved(&mut self, families: &[&str], by: &[(&str, f64)]) {
        let lines = self.now();
        let changes = lines.iter().map(|(line, now)| (line.as_str(), now - self.lines.get(line).unwrap_or(&0.0)));
        let asked_for = |line: &str| families.iter().any(|family| line.starts_with(family));
        let changes: BTreeMap<_, _> = changes.filter(|(line, by)| asked_for(line) && *by != 0.0).collect();
        assert_eq!(changes, by.iter().copied().collect());
        self.lines = lines;
    }
}

/// Returns a gate that takes leases at once, with a team for which it holds none yet.
async fn with_team(sidecars: &Sidecars, included: i64) -> (Arc<Gate>, Counted) {
    let (gate, metrics) = sidecars.counted(Leasing::AtOnce, &sidecars.clock).await;
    team(&gate, false, included).await;
    (gate, Counted::of(metrics))
}

const GRANTED: &str = "leases_total{event=\"granted\"}";
const GIVEN_BACK: &str = "leases_total{event=\"given_back\"}";
const RECLAIMED: &str = "leases_total{event=\"reclaimed\"}";
const RECALLED: &str = "leases_total{event=\"recalled\"}";
const IN_HAND: &str = "leases{state=\"in_hand\"}";
const RETURNING: &str = "leases{state=\"returning\"}";

/// A lease is reported from its grant until it was recalled and returned.
#[tokio::test]
async fn a_lease_is_reported_until_it_was_returned() {
    let sidecars = Sidecars::in_memory().await;
    let other = sidecars.with(Leasing::Off, &sidecars.clock).await;
    let (gate, mut counted) = with_team(&sidecars, 10_000).await;
    let grant = open(&gate, "first", 1).await;
    counted.moved(&["leases", "open"], &[(GRANTED, 1.0), (IN_HAND, 1.0), ("open_reservations", 1.0)]);
    let leased = account(&other).await.leased;
    assert_eq!(counted.level("leased_credits"), (leased - 25) as f64);

    // The gate learns of the change from a reply.
    other.put_team(&id("team"), &settings(Plan::Basic, false, 20_000), "test").await.unwrap();
    account(&gate).await;
    counted.moved(&["leases"], &[(RECALLED, 1.0), (IN_HAND, -1.0), (RETURNING, 1.0)]);
    catch_up(&gate, 0).await;
    counted.moved(&["leases", "open"], &[(GIVEN_BACK, 1.0), (RETURNING, -1.0)]);
    assert_eq!(counted.level("leased_credits"), 0.0);
    commit(&gate, "first", &grant).await.unwrap();
    counted.moved(&["leases", "open"], &[("open_reservations", -1.0)]);
}

/// A lease that is recalled is counted as recalled, whichever way the sidecar learns of it.
#[tokio::test]
async fn a_recalled_lease_is_counted_however_the_recall_is_seen() {
    // From the list of recalls.
    let sidecars = Sidecars::in_memory().await;
    let other = sidecars.with(Leasing::Off, &sidecars.clock).await;
    let (gate, mut counted) = with_team(&sidecars, 10_000).await;
    open(&gate, "first", 1).await;
    other.put_team(&id("team"), &settings(Plan::Basic, false, 20_000), "test").await.unwrap();
    counted.moved(&["leases_total"], &[(GRANTED, 1.0)]);
    catch_up(&gate, 0).await;
    counted.moved(&["leases_total"], &[(RECALLED, 1.0), (GIVEN_BACK, 1.0)]);

    // From its own recall: a call that no lease covers needs credits that are in one.
    let sidecars = Sidecars::in_memory().await;
    let (gate, mut counted) = with_team(&sidecars, 100).await;
    open(&gate, "first", 1).await;
    counted.moved(&["leases_total"], &[(GRANTED, 1.0)]);
    reserve(&gate, call("large", 3)).await;
    counted.moved(&["leases_total"], &[(RECALLED, 1.0), (GIVEN_BACK, 1.0)]);
}

/// A lease whose sidecar is gone is counted once, by the sidecar that reclaims it.
#[tokio::test]
async fn a_reclaimed_lease_is_counted_once_by_its_finder() {
    let sidecars = Sidecars::in_memory().await;
    let (gone, _) = with_team(&sidecars, 10_000).await;
    open(&gone, "first", 1).await;
    drop(gone);
    let (finder, metrics) = sidecars.counted(Leasing::Off, &sidecars.clock).await;
    let mut counted = Counted::of(metrics);
    for (later_ms, found) in [(TERM_MS, &[][..]), (HOLD_MS + MARGIN_MS, &[(RECLAIMED, 1.0)]), (0, &[])] {
        sidecars.clock.advance_ms(later_ms);
        finder.sweep().await.unwrap();
        counted.moved(&["leases_total"], found);
    }
}

/// A jump of the store's clock is counted once. A small one is not counted.
#[tokio::test]
async fn a_large_jump_of_the_stores_clock_is_counted_once() {
    for (jump_ms, jumps) in [(MARGIN_MS, &[][..]), (MARGIN_MS + 2, &[("store_time_jumps_total", 1.0)])] {
        let sidecars = Sidecars::in_memory().await;
        let (gate, metrics) = sidecars.counted(Leasing::Off, &ManualClock::at(5_000)).await;
        team(&gate, false, 10_000).await;
        let mut counted = Counted::of(metrics);
        sidecars.clock.advance_ms(jump_ms);
        for _ in 0..2 {
            account(&gate).await;
        }
        counted.moved(&["store_time_jumps_total"], jumps);
    }
}

const WRITE: &str = "store_duration_seconds_count{call=\"write\"}";
const READ: &str = "store_duration_seconds_count{call=\"read\"}";
const SEVERAL: &str = "store_duration_seconds_count{call=\"several\"}";
const HIT: &str = "cache_lookups_total{result=\"hit\"}";
const MISS: &str = "cache_lookups_total{result=\"miss\"}";

/// Each call to the store is counted by its kind, and each answer from memory by its result.
#[tokio::test]
async fn store_calls_and_cache_lookups_are_counted_by_kind() {
    let families = ["store_", "cache_", "stale_"];
    let sidecars = Sidecars::in_memory().await;
    let other = sidecars.with(Leasing::Off, &sidecars.clock).await;
    team(&other, false, 10_000).await;
    let (gate, metrics) = sidecars.counted(Leasing::Off, &sidecars.clock).await;
    let mut counted = Counted::of(metrics);
    reserve(&gate, call("first", 1)).await;
    counted.moved(&families, &[(MISS, 1.0), ("cache_refreshes_total", 1.0), (READ, 1.0), (WRITE, 1.0)]);
    reserve(&gate, call("second", 1)).await;
    counted.moved(&families, &[(HIT, 1.0), (WRITE, 1.0)]);
    // The cached terms of the team are out of date.
    other.put_team(&id("team"), &settings(Plan::Basic, false, 20_000), "test").await.unwrap();
    reserve(&gate, call("third", 1)).await;
    counted.moved(&families, &[(HIT, 2.0), ("stale_rounds_total", 1.0), (WRITE, 2.0)]);

    let (gate, mut counted) = with_team(&sidecars, 10_000).await;
    sidecars.clock.advance_ms(2_000);
    open(&gate, "from-lease", 1).await;
    counted.moved(&["store_duration_seconds_count"], &[(WRITE, 1.0)]);
    // The return of the lease, and the record of the open reservation.
    gate.give_everything_back().await;
    counted.moved(&["store_duration_seconds_count", "leases_total"], &[(SEVERAL, 2.0), (GIVEN_BACK, 1.0)]);
}

/// Each transaction that the store cannot carry out is counted, although several are sent together.
#[tokio::test]
async fn each_failed_transaction_of_a_batch_is_counted() {
    let sidecars = Sidecars::in_memory().await;
    let (gate, metrics) = sidecars.counted(Leasing::Off, &sidecars.clock).await;
    let team = team(&gate, false, 10_000).await;
    for name in ["first", "second"] {
        reserve(&gate, call(name, 1)).await;
    }
    let cycle = account(&gate).await.cycle;
    let mut damage = Transaction::on(keys::team(&team));
    let record = damage.record(keys::account(cycle.start_ms), Read::Nothing);
    damage.option(vec![], vec![Write::Set(record, "held", "no number".into())]);
    sidecars.store.transact(damage).await.unwrap();
    sidecars.clock.advance_ms(HOLD_MS);
    let mut counted = Counted::of(metrics);
    // Both holds have run out.
    gate.sweep().await.unwrap();
    counted.moved(&["store_errors"], &[("store_errors_total{kind=\"fault\"}", 2.0)]);
}
