//! Tables of the measurements of leases.

use comfy_table::Table;

use super::{
    last_credits::LastCredits,
    redis_calls::Counted,
    stopped_redis::StoppedRedis,
    table::{align_numbers, count, micros, table, times},
};

pub(crate) fn redis_calls(counted: &[Counted]) -> Table {
    let mut table = table(&[
        "a hot team's reserves with commits",
        "at\nonce",
        "Redis\ncalls",
        "per\npair",
        "server µs\nper call",
        "failed",
    ]);
    for Counted { at_once, pairs, calls, calls_per_pair, server_us_per_call, failed } in counted {
        table.add_row([
            format!("{pairs} pairs"),
            at_once.to_string(),
            calls.to_string(),
            format!("{calls_per_pair:.3}"),
            format!("{server_us_per_call:.0}"),
            failed.to_string(),
        ]);
    }
    align_numbers(&mut table, 1);
    table
}

pub(crate) fn last_credits(last: &LastCredits) -> Table {
    let LastCredits { sidecars, credits, answered_before, begun_before, drained } = last;
    let mut table = table(&["draining a team", ""]);
    let percent = |part: f64| format!("{:.3} %", part * 100.0);
    table.add_row(["credits, sidecars".to_owned(), format!("{credits}, {sidecars}")]);
    table.add_row([
        "reserved by calls that were answered before the first Suspend".to_owned(),
        percent(*answered_before),
    ]);
    table.add_row(["by calls that had begun by then".to_owned(), percent(*begun_before)]);
    table.add_row(["credits reserved by calls that began later".to_owned(), drained.begun_after.to_string()]);
    table.add_row(["calls that failed".to_owned(), drained.failed.to_string()]);
    table.add_row(["seconds".to_owned(), format!("{:.1}", drained.seconds)]);
    align_numbers(&mut table, 1);
    table
}

pub(crate) fn stopped_redis(stopped: &StoppedRedis) -> Table {
    let mut table = table(&["Redis stopped for 2 s", "before", "stopped", "×"]);
    table.add_row([
        format!("reserves per second, {} at once", stopped.at_once),
        count(stopped.before_per_second),
        count(stopped.stopped_per_second),
        String::new(),
    ]);
    table.add_row([
        "p99 µs".to_owned(),
        micros(stopped.before_p99_us),
        micros(stopped.stopped_p99_us),
        times(stopped.p99_ratio),
    ]);
    table.add_row(["calls that failed".to_owned(), String::new(), stopped.failed.to_string(), String::new()]);
    table.add_row(["credits overspent".to_owned(), String::new(), stopped.overspent.to_string(), String::new()]);
    align_numbers(&mut table, 1);
    table
}
