//! The report as tables.

use std::{collections::BTreeSet, fmt};

use comfy_table::{CellAlignment, Table, presets};

use super::{
    growth::Point,
    lease_tables,
    matrix::{Cell, Place},
    metrics::WithMetrics,
    order::Work,
    report::Report,
    rounds::{Figures, Outcome, Spread},
    row::Transport,
    strict_path::StrictPath,
};

const BYTES_PER_MEGABYTE: f64 = 1e6;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.matrix.is_empty() {
            writeln!(formatter, "{}\n", matrix(&self.matrix))?;
        }
        if let Some(path) = &self.strict_path {
            writeln!(formatter, "{}\n", strict_path(path))?;
            for used in &path.redis_use {
                let (calls, time) = (used.calls_per_operation, used.server_us_per_call);
                writeln!(
                    formatter,
                    "{}: {calls:.3} Redis calls per operation, {time:.0} µs of server time each",
                    used.workload
                )?;
            }
            writeln!(formatter)?;
        }
        if !self.redis_calls.is_empty() {
            writeln!(formatter, "{}\n", lease_tables::redis_calls(&self.redis_calls))?;
        }
        if let Some(last) = &self.last_credits {
            writeln!(formatter, "{}\n", lease_tables::last_credits(last))?;
        }
        if let Some(stopped) = &self.stopped_redis {
            writeln!(formatter, "{}\n", lease_tables::stopped_redis(stopped))?;
        }
        if !self.metrics.is_empty() {
            writeln!(formatter, "{}\n", with_metrics(&self.metrics))?;
        }
        if !self.growth.is_empty() {
            writeln!(formatter, "{}\n", growth(&self.growth))?;
        }
        let stopped = self.stopped_redis.iter().map(|stopped| ("in the stop", stopped.failed, &stopped.failure));
        let drained = self.last_credits.iter().map(|last| ("draining", last.drained.failed, &last.drained.failure));
        for (name, failed, failure) in stopped.chain(drained).filter(|(_, failed, _)| *failed > 0) {
            writeln!(formatter, "{name}: {failed} calls failed: {}", failure.as_deref().unwrap_or_default())?;
        }
        for (name, outcome) in self.outcomes().filter(|(_, outcome)| outcome.failed > 0) {
            let failure = outcome.failure.as_deref().unwrap_or_default();
            writeln!(formatter, "{name}: {} calls failed: {failure}", outcome.failed)?;
        }
        for at_once in self.matrix.iter().map(|cell| cell.place.at_once).collect::<BTreeSet<_>>() {
            let with = self.matrix.iter().filter(|cell| cell.place.at_once == at_once);
            let cores = Spread::of(with.map(|cell| cell.outcome.floor.client_cores.median));
            writeln!(
                formatter,
                "With {at_once} concurrent calls, the load client used {} cores beside the floor.",
                times(cores)
            )?;
        }
        let Self { rounds, cores, appendfsync, seconds, .. } = self;
        write!(
            formatter,
            "Medians of {rounds} rounds (×: gate / floor in the same round, with minimum and maximum), on {cores} cores that also ran \
             the load client and Redis (appendfsync {appendfsync}); {seconds} s."
        )
    }
}

impl Report {
    fn outcomes(&self) -> impl Iterator<Item = (String, &Outcome)> {
        let cells = self.matrix.iter().map(|cell| (cell.place.name(), &cell.outcome));
        let points = self.growth.iter().flat_map(|point| {
            let name = format!("{} with {} {}", point.store, point.count, point.grown);
            point.under_load.iter().map(move |load| (name.clone(), &load.outcome))
        });
        cells.chain(points)
    }
}

fn matrix(cells: &[Cell]) -> Table {
    let mut table = table(&[
        "row",
        "by",
        "at\nonce",
        "floor\nper s",
        "per s",
        "×",
        "p50\nµs",
        "×",
        "p99\nµs",
        "×",
        "p99.9\nµs",
        "×",
    ]);
    for transport in Transport::ALL {
        for at_once in cells.iter().map(|cell| cell.place.at_once).collect::<BTreeSet<_>>() {
            table.add_rows(floor(cells, transport, at_once));
        }
    }
    for Cell { place, outcome } in cells {
        let Outcome { floor, gate, ratio, .. } = outcome;
        table.add_row(vec![
            format!("{} {}", place.store, place.workload),
            place.transport.to_string(),
            place.at_once.to_string(),
            count(floor.per_second),
            count(gate.per_second),
            times(ratio.per_second),
            micros(gate.p50_us),
            times(ratio.p50_us),
            micros(gate.p99_us),
            times(ratio.p99_us),
            micros(gate.p99_9_us),
            times(ratio.p99_9_us),
        ]);
    }
    align_numbers(&mut table, 2);
    table
}

/// Returns the row of the floor for one reserve, from all rows that were compared with it.
fn floor(cells: &[Cell], transport: Transport, at_once: u32) -> Option<Vec<String>> {
    let is_beside = |place: &Place| {
        place.workload.work() == Work::Reserve && place.transport == transport && place.at_once == at_once
    };
    let beside: Vec<_> = cells.iter().filter(|cell| is_beside(&cell.place)).map(|cell| cell.outcome.floor).collect();
    let figure = |figure: fn(&Figures) -> Spread| Spread::of(beside.iter().map(|floor| figure(floor).median));
    let row = [
        "floor".to_owned(),
        transport.to_string(),
        at_once.to_string(),
        String::new(),
        count(figure(|floor| floor.per_second)),
        String::new(),
        micros(figure(|floor| floor.p50_us)),
        String::new(),
        micros(figure(|floor| floor.p99_us)),
        String::new(),
        micros(figure(|floor| floor.p99_9_us)),
        String::new(),
    ];
    (!beside.is_empty()).then(|| row.to_vec())
}

fn strict_path(path: &StrictPath) -> Table {
    let mut table = table(&["one reserve at a time", "p50 µs", "least", "most", "p99 µs"]);
    let row = |name: &str, Figures { p50_us, p99_us, .. }: &Figures| {
        vec![name.to_owned(), micros(*p50_us), one_digit(p50_us.least), one_digit(p50_us.most), micros(*p99_us)]
    };
    table.add_row(row("the floor", &path.floor));
    table.add_row(row("call of a script that does nothing", &path.empty_script));
    table.add_row(row("call of a script that unpacks its argument", &path.unpacking_script));
    table.add_row(row("call of the sidecar's own script", &path.script));
    table.add_row(row("CheckAndReserve, written through", &path.gate));
    let Spread { median, least, most } = path.rest_us;
    let rest = [median, least, most].map(one_digit);
    table.add_row([vec!["above the floor and its script".to_owned()], rest.to_vec(), vec![String::new()]].concat());
    align_numbers(&mut table, 1);
    table
}

fn with_metrics(measured: &[WithMetrics]) -> Table {
    let mut table =
        table(&["with metrics / without", "at\nonce", "per s\n×", "p50\n×", "p99\n×", "µs of the\nprocessor", "×"]);
    for WithMetrics { store, suspended, at_once, outcome, processor_us: [without, with] } in measured {
        let ratio = &outcome.ratio;
        table.add_row(vec![
            format!("{store} {}", if *suspended { "suspend" } else { "hot" }),
            at_once.to_string(),
            times(ratio.per_second),
            times(ratio.p50_us),
            times(ratio.p99_us),
            one_digit(*with),
            format!("{:.3}", with / without),
        ]);
    }
    align_numbers(&mut table, 1);
    table
}

fn growth(points: &[Point]) -> Table {
    let mut table = table(&[
        "store",
        "with",
        "",
        "sidecar\nMB",
        "bytes\neach",
        "Redis\nMB",
        "at\nonce",
        "p50\nµs",
        "×",
        "p99\nµs",
        "×",
        "of the\nfirst",
        "oldest\ns",
    ]);
    for point in points {
        let megabytes = |bytes: u64| one_digit(bytes as f64 / BYTES_PER_MEGABYTE);
        for load in &point.under_load {
            let Outcome { gate, ratio, .. } = &load.outcome;
            table.add_row(vec![
                point.store.to_string(),
                point.grown.to_string(),
                point.count.to_string(),
                megabytes(point.sidecar_bytes),
                point.sidecar_bytes_each.map_or_else(String::new, |bytes| format!("{bytes:.0}")),
                point.redis_bytes.map_or_else(String::new, megabytes),
                load.at_once.to_string(),
                micros(gate.p50_us),
                times(ratio.p50_us),
                micros(gate.p99_us),
                times(ratio.p99_us),
                point
                    .p99_of_first
                    .filter(|_| load.at_once == 1)
                    .map_or_else(String::new, |times| format!("{times:.2}")),
                point.oldest_seconds.to_string(),
            ]);
        }
    }
    align_numbers(&mut table, 2);
    table
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table
}

pub(crate) fn align_numbers(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

pub(crate) fn count(spread: Spread) -> String {
    format!("{:.0}", spread.median)
}

pub(crate) fn micros(spread: Spread) -> String {
    one_digit(spread.median)
}

fn one_digit(number: f64) -> String {
    format!("{number:.1}")
}

/// `0.41 (0.38-0.44)`
pub(crate) fn times(spread: Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", spread.median, spread.least, spread.most)
}
