//! `tollgate replay`: sends a trace of real model calls to a sidecar over gRPC, as flow executors would.
//!
//! Each row of the trace is one run of a block: reserve, wait as long as the model took, commit. This module owns the order of
//! the calls and the limit of calls in flight. It knows the sidecar only through its gRPC contract, and neither the gate nor a
//! store.

mod balances;
mod executor;
mod report;
mod retry;
mod sidecar;
mod table;
mod trace;

use std::{io::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use self::{
    executor::{CallOutcome, End, Executor},
    report::{Summary, Tally},
    sidecar::SidecarClient,
};
pub use self::{
    report::{Latency, Reconciliation, ReplayReport, TeamReport},
    trace::{Call, Row, model_for, parse, plan_calls, read},
};
pub use crate::client::{SecurityArguments, SidecarAddress};
use crate::{clock::Clock, exit_code};

/// Arguments of `tollgate replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArguments {
    /// Trace in CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens
    #[arg(value_name = "TRACE.csv")]
    pub trace: PathBuf,
    /// Address of the sidecar's data listener: host:port or unix:/path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    pub addr: SidecarAddress,
    /// Address of the sidecar's admin listener: host:port or unix:/path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50052")]
    pub admin: SidecarAddress,
    /// The credentials for both listeners.
    #[command(flatten)]
    pub security: SecurityArguments,
    /// Number of teams that the rows are assigned to in turn: replay-0, replay-1 …
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub teams: u16,
    /// Plan of the teams that the replay creates: free, basic or professional. Existing teams keep theirs
    #[arg(long, default_value = "professional")]
    pub plan: String,
    /// Give the teams that the replay creates a paid seat
    #[arg(long)]
    pub paid_seat: bool,
    /// Time that the model takes for each generated token, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub ms_per_token: u64,
    /// Maximum number of calls in flight
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub concurrency: u16,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Replays the trace and prints the report on stdout. After the first Ctrl-C no further rows start; the second Ctrl-C exits.
///
/// # Errors
/// Fails if the trace cannot be read or the sidecar cannot be reached. Also fails, after the report is printed, if calls failed
/// or if the credits of all commits differ from the growth of the sidecar's usage.
pub async fn run(arguments: ReplayArguments) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let _interrupts = AbortOnDropHandle::new(tokio::spawn(watch_interrupts(stop.clone())));
    let report = replay(&arguments, stop).await?;
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // The reader of stdout, such as `head`, has read enough. The result of the replay stays the same.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print the report"),
        _ => check(&report),
    }
}

/// Replays the trace. Once `stop` is cancelled, no further rows start, and the calls in flight are awaited.
///
/// # Errors
/// Fails if the trace cannot be read, or if the sidecar cannot be reached before the first row.
pub async fn replay(arguments: &ReplayArguments, stop: CancellationToken) -> anyhow::Result<ReplayReport> {
    let clock = Clock::System;
    let teams = usize::from(arguments.teams);
    let calls = plan_calls(&read(&arguments.trace)?, teams);
    let rows = calls.len();
    // Only the admin listener takes a token.
    let for_data = SecurityArguments { token_file: None, ..arguments.security.clone() };
    let data = arguments.addr.clone().with(for_data.read(None)?)?;
    let admin = arguments.admin.clone().with(arguments.security.read(None)?)?;
    let sidecar = SidecarClient::connect(&data, admin, clock.clone()).await?;
    let openings = balances::open(&sidecar, teams, &arguments.plan, arguments.paid_seat).await?;
    let mut tally = Tally::new(&openings)?;

    // 48 random bits make the ids of each replay unique and still easy to read.
    let label = format!("replay-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let executor = Executor::new(sidecar.clone(), clock.clone(), label.clone(), arguments.ms_per_token, &calls);
    let began_ns = clock.monotonic_ns();
    drive(Arc::new(executor), calls, usize::from(arguments.concurrency), &stop, &mut tally).await?;
    let elapsed_ns = clock.monotonic_ns() - began_ns;

    // If the sidecar is gone, its usage cannot be read, but the report can still show the calls.
    let mut growths = Vec::with_capacity(teams);
    for opening in &openings {
        match balances::growth(&sidecar, opening).await {
            Ok(growth) => growths.push(growth),
            Err(error) => {
                tally.note(format!("{error:#}"));
                break;
            }
        }
    }
    Ok(tally.close(Summary { label, rows, elapsed_ns }, &growths))
}

/// Makes the calls in the order of the trace, with at most `concurrency` in flight.
async fn drive(
    executor: Arc<Executor>,
    calls: Vec<Call>,
    concurrency: usize,
    stop: &CancellationToken,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let progress = progress_bar(calls.len())?;
    let mut waiting = calls.into_iter();
    let mut in_flight: JoinSet<CallOutcome> = JoinSet::new();
    loop {
        while in_flight.len() < concurrency && !stop.is_cancelled() {
            let Some(call) = waiting.next() else { break };
            let executor = Arc::clone(&executor);
            in_flight.spawn(async move { executor.execute(&call).await });
        }
        let Some(outcome) = in_flight.join_next().await else { break };
        let outcome = outcome.context("a call did not finish")?;
        if matches!(outcome.end, End::Failed { unreachable: true, .. }) {
            // Every further row would wait for the same timeout and fail as well.
            stop.cancel();
        }
        tally.count(outcome)?;
        progress.inc(1);
        if stop.is_cancelled() {
            progress.set_message("stopping: waiting for the calls in flight");
        }
    }
    executor.end_unfinished_runs().await;
    progress.finish_and_clear();
    Ok(())
}

/// Creates a progress bar on stderr, which is shown only on a terminal.
fn progress_bar(rows: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {per_sec}, {eta} left {msg}")?;
    Ok(ProgressBar::new(rows as u64).with_style(style))
}

async fn watch_interrupts(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    stop.cancel();
    if tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("interrupted: credits that are still reserved come back when their holds expire");
        std::process::exit(exit_code::INTERRUPTED.into());
    }
}

fn check(report: &ReplayReport) -> anyhow::Result<()> {
    let TeamReport { calls, failed, credits, usage_growth, books, .. } = &report.total;
    match books {
        Reconciliation::Agree if *failed == 0 => Ok(()),
        Reconciliation::Agree => bail!("{failed} of {calls} calls failed"),
        Reconciliation::Unread => {
            bail!("the commits charged {credits} credits, but GetUsage failed, so they were not compared")
        }
        Reconciliation::Differ => {
            let differing = report.teams.iter().filter(|team| team.books == Reconciliation::Differ);
            bail!(
                "the usage of {} differs: the commits charged {credits} credits, but GetUsage grew by {}. Check whether \
                 another client used these teams at the same time, or whether a commit got no answer",
                differing.map(|team| team.team.as_str()).collect::<Vec<_>>().join(", "),
                usage_growth.map_or_else(|| "an unknown number".to_owned(), |growth| growth.to_string()),
            )
        }
    }
}
