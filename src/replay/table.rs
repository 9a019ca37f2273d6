//! A report as tables for people.

use std::fmt;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;

use super::report::{Latency, Reconciliation, ReplayReport, TeamReport};

impl fmt::Display for ReplayReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n", team_table(self))?;
        writeln!(formatter, "{}\n", latency_table(self))?;
        let rate = if self.elapsed_seconds > 0.0 { self.total.calls as f64 / self.elapsed_seconds } else { 0.0 };
        let calls = HumanCount(self.total.calls);
        write!(formatter, "{calls} of {} rows in {:.1} s", HumanCount(self.rows), self.elapsed_seconds)?;
        writeln!(formatter, " ({rate:.0} per second); ids begin with {}.", self.label)?;
        for error in &self.errors {
            writeln!(formatter, "error: {error}")?;
        }
        if self.total.books == Reconciliation::Agree {
            writeln!(formatter, "The books agree: GetUsage grew by the credits that the commits charged.")?;
        }
        Ok(())
    }
}

/// Makes the table of teams. A column of failures or late commits appears only if it has a value above 0.
fn team_table(report: &ReplayReport) -> Table {
    let reasons: Vec<&String> = report.total.suspended.keys().collect();
    let mut header = vec!["team".to_owned(), "plan".to_owned(), "calls".to_owned(), "proceeded".to_owned()];
    if reasons.is_empty() {
        header.push("suspended".to_owned());
    }
    header.extend(reasons.iter().map(|reason| format!("suspended:\n{}", reason.replace('_', " "))));
    for (name, total) in [("failed", report.total.failed), ("late", report.total.late)] {
        if total > 0 {
            header.push(name.to_owned());
        }
    }
    header.extend(["credits", "of it run\ncompletion", "growth of\nGetUsage", "books"].map(str::to_owned));

    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for team in &report.teams {
        table.add_row(team_row(team, &report.total, &reasons));
    }
    if report.teams.len() > 1 {
        let total = TeamReport { team: "all".to_owned(), ..report.total.clone() };
        table.add_row(team_row(&total, &report.total, &reasons));
    }
    align_numbers(&mut table, 2);
    table
}

fn team_row(team: &TeamReport, total: &TeamReport, reasons: &[&String]) -> Vec<Cell> {
    let seat = if team.paid_seat { ", seat" } else { "" };
    let mut row = vec![Cell::new(&team.team), Cell::new(format!("{}{seat}", team.plan))];
    row.extend([count(team.calls), count(team.proceeded)]);
    if reasons.is_empty() {
        row.push(count(0));
    }
    row.extend(reasons.iter().map(|reason| count(team.suspended.get(*reason).copied().unwrap_or(0))));
    for (value, total) in [(team.failed, total.failed), (team.late, total.late)] {
        if total > 0 {
            row.push(count(value));
        }
    }
    row.extend([credits(team.credits), credits(team.run_completion_credits)]);
    row.push(team.usage_growth.map_or(Cell::new("–"), credits));
    row.push(Cell::new(match team.books {
        Reconciliation::Agree => "agree",
        Reconciliation::Differ => "DIFFER",
        Reconciliation::Unread => "unread",
    }));
    row
}

fn latency_table(report: &ReplayReport) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(["latency", "answers", "p50", "p99", "p99.9", "longest"])
        .add_row(latency_row("reserve", &report.reserve))
        .add_row(latency_row("commit", &report.commit));
    align_numbers(&mut table, 1);
    table
}

fn latency_row(name: &str, latency: &Latency) -> Vec<Cell> {
    let durations = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us];
    let mut row = vec![Cell::new(name), count(latency.count)];
    row.extend(durations.map(|us| Cell::new(if latency.count == 0 { "–".to_owned() } else { milliseconds(us) })));
    row
}

fn milliseconds(us: f64) -> String {
    let ms = us / 1e3;
    if ms < 10.0 { format!("{ms:.3} ms") } else { format!("{ms:.1} ms") }
}

fn count(value: u64) -> Cell {
    Cell::new(HumanCount(value))
}

fn credits(value: i64) -> Cell {
    let sign = if value < 0 { "-" } else { "" };
    Cell::new(format!("{sign}{}", HumanCount(value.unsigned_abs())))
}

fn align_numbers(table: &mut Table, first_column: usize) {
    for column in table.column_iter_mut().skip(first_column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
