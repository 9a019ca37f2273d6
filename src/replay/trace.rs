//! The trace, and how its rows become calls: the team, the model and the run of each row.
//!
//! Apart from reading the file, everything here is pure. It knows nothing of gRPC, credits or clocks.

use std::{fs::File, path::Path};

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;
use jiff::civil::DateTime;

const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// Rows of a team that are at least this far apart belong to different runs.
const RUN_GAP_SECONDS: i64 = 60;

/// One call to a model, as the trace recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Time of the call, in a time zone that the trace does not name.
    pub timestamp: DateTime,
    /// Number of tokens in the prompt.
    pub context_tokens: u32,
    /// Number of tokens in the answer.
    pub generated_tokens: u32,
}

/// One row as one run of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index of the row in the trace, from 0.
    pub row: usize,
    /// Index of the team, from 0: the row modulo the number of teams.
    pub team: usize,
    /// Index of the run, from 0, among the runs of all teams.
    pub run: usize,
    /// The model that the block calls.
    pub model: &'static str,
    /// Number of tokens in the answer.
    pub generated_tokens: u32,
}

/// Reads the rows of a trace file.
///
/// # Errors
/// Fails if the file cannot be read, lacks a column, has no rows, or has a malformed row. The message names the line.
pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("cannot open the trace {}", path.display()))?;
    parse(file).with_context(|| format!("cannot read the trace {}", path.display()))
}

/// Reads the rows of a trace in CSV with a header.
///
/// # Errors
/// Fails if a column is missing, if there are no rows, or if a row is malformed. The message names the line.
pub fn parse(trace: impl std::io::Read) -> anyhow::Result<Vec<Row>> {
    let mut reader = csv::Reader::from_reader(trace);
    let columns = find_columns(reader.headers()?)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(parse_row(&record, columns).with_context(|| format!("line {line}"))?);
    }
    ensure!(!rows.is_empty(), "the trace has no rows");
    Ok(rows)
}

/// Returns the calls that replay these rows, in the same order. `teams` must be at least 1.
pub fn plan_calls(rows: &[Row], teams: usize) -> Vec<Call> {
    let mut latest: Vec<Option<(DateTime, usize)>> = vec![None; teams];
    let mut runs = 0;
    let mut calls = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let team = index % teams;
        let run = match latest[team] {
            Some((previous, run)) if share_a_run(previous, row.timestamp) => run,
            _ => {
                runs += 1;
                runs - 1
            }
        };
        latest[team] = Some((row.timestamp, run));
        let model = model_for(row.context_tokens);
        calls.push(Call { row: index, team, run, model, generated_tokens: row.generated_tokens });
    }
    calls
}

/// Returns the model that serves a prompt of this length.
pub fn model_for(context_tokens: u32) -> &'static str {
    match context_tokens {
        0..512 => "gpt-3.5",
        512..2048 => "gpt-4o",
        2048..4096 => "gpt-4o-mini",
        4096.. => "gpt-4",
    }
}

fn find_columns(header: &StringRecord) -> anyhow::Result<[usize; 3]> {
    let mut columns = [0; 3];
    for (column, name) in columns.iter_mut().zip(COLUMNS) {
        // Spreadsheet programs put a byte order mark before the first name.
        let Some(found) = header.iter().position(|field| field.trim_start_matches('\u{feff}').trim() == name) else {
            bail!("the header names no column {name}; expected {}", COLUMNS.join(","));
        };
        *column = found;
    }
    Ok(columns)
}

fn parse_row(record: &StringRecord, [timestamp, context, generated]: [usize; 3]) -> anyhow::Result<Row> {
    let field = |column: usize| record.get(column).unwrap_or_default().trim();
    let tokens = |column: usize, name: &str| {
        field(column).parse().with_context(|| format!("{name} is {:?}, not a number of tokens", field(column)))
    };
    Ok(Row {
        timestamp: field(timestamp)
            .parse()
            .with_context(|| format!("{} is {:?}, not a date and time", COLUMNS[0], field(timestamp)))?,
        context_tokens: tokens(context, COLUMNS[1])?,
        generated_tokens: tokens(generated, COLUMNS[2])?,
    })
}

fn share_a_run(previous: DateTime, next: DateTime) -> bool {
    let gap = next.duration_since(previous).abs();
    gap < jiff::SignedDuration::from_secs(RUN_GAP_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

    fn rows_at(seconds: &[&str]) -> Vec<Row> {
        let lines: String = seconds.iter().map(|second| format!("2023-11-16 {second},100,1\n")).collect();
        parse(format!("{HEADER}{lines}").as_bytes()).unwrap()
    }

    fn runs(rows: &[Row], teams: usize) -> Vec<usize> {
        plan_calls(rows, teams).iter().map(|call| call.run).collect()
    }

    fn error_of(trace: &str) -> String {
        format!("{:#}", parse(trace.as_bytes()).unwrap_err())
    }

    #[test]
    fn a_longer_prompt_needs_another_model() {
        let models = [0, 511, 512, 2047, 2048, 4095, 4096, u32::MAX].map(model_for);
        let expected = ["gpt-3.5", "gpt-3.5", "gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini", "gpt-4", "gpt-4"];
        assert_eq!(models, expected);
    }

    #[test]
    fn rows_go_to_the_teams_in_turn() {
        let rows = rows_at(&["10:00:00"; 5]);
        let teams: Vec<_> = plan_calls(&rows, 2).iter().map(|call| (call.row, call.team)).collect();
        assert_eq!(teams, [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]);
    }

    #[test]
    fn rows_of_a_team_under_a_minute_apart_share_a_run() {
        let rows = rows_at(&["10:00:00", "10:00:59.9999999", "10:01:59.9999999", "10:02:00"]);
        assert_eq!(runs(&rows, 1), [0, 0, 1, 1]);
    }

    #[test]
    fn a_run_belongs_to_one_team() {
        let rows = rows_at(&["10:00:00", "10:00:00", "10:00:30", "10:02:00", "10:01:00"]);
        assert_eq!(runs(&rows, 2), [0, 1, 0, 2, 0]);
    }

    #[test]
    fn a_jump_back_by_a_minute_starts_a_run() {
        assert_eq!(runs(&rows_at(&["10:05:00", "10:04:01", "10:03:01"]), 1), [0, 0, 1]);
    }

    #[test]
    fn the_published_format_is_read() {
        let trace = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10";
        let row = &parse(trace.as_bytes()).unwrap()[0];
        assert_eq!(row.timestamp.to_string(), "2023-11-16T18:17:03.97996");
        assert_eq!((row.context_tokens, row.generated_tokens), (4808, 10));
    }

    #[test]
    fn a_malformed_row_is_named_by_its_line() {
        let good = "2023-11-16 10:00:00,1,1\n";
        assert_eq!(
            error_of(&format!("{HEADER}{good}2023-11-16 10:00:00,many,1\n")),
            "line 3: ContextTokens is \"many\", not a number of tokens: invalid digit found in string"
        );
        let error = error_of(&format!("{HEADER}{good}{good}yesterday,1,1\n"));
        assert!(error.starts_with("line 4: TIMESTAMP is \"yesterday\", not a date and time"), "{error}");
        let error = error_of(&format!("{HEADER}{good}2023-11-16 10:00:00,1\n"));
        assert!(error.contains("line: 3"), "{error}");
    }

    #[test]
    fn a_trace_without_rows_or_columns_is_an_error() {
        assert_eq!(error_of(HEADER), "the trace has no rows");
        assert!(error_of("").contains("names no column TIMESTAMP"));
        assert!(error_of("TIMESTAMP,ContextTokens\n").contains("names no column GeneratedTokens"));
    }

    #[test]
    fn the_excerpt_in_this_repository_is_a_trace() {
        let excerpt = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure_llm_2023_code_excerpt.csv");
        let rows = read(&excerpt).unwrap();
        assert_eq!(rows.len(), 600);
        assert_eq!(plan_calls(&rows, 8).iter().map(|call| call.run).max(), Some(15));
    }
}
