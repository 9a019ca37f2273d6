//! `tollgate replay`: a trace of real calls, driven over gRPC as an executor would.
//!
//! Each row is one block run: reserve, wait as long as the model would have taken, commit. It owns the order of the
//! calls and how many are under way; it knows the sidecar only through the contract, never the gate or a store.

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

/// Replays a trace of real calls over gRPC, as a flow executor would make them.
#[derive(Args, Clone, Debug)]
pub struct ReplayArguments {
    /// A trace in CSV, with the columns TIMESTAMP, ContextTokens and GeneratedTokens
    #[arg(value_name = "TRACE.csv")]
    pub trace: PathBuf,
    /// The sidecar's data listener: host:port or unix:/path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    pub addr: SidecarAddress,
    /// The sidecar's admin listener: host:port or unix:/path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50052")]
    pub admin: SidecarAddress,
    /// What it takes to call them.
    #[command(flatten)]
    pub security: SecurityArguments,
    /// How many teams the rows go to in turn: replay-0, replay-1 …
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub teams: u16,
    /// The plan of the teams that are absent and so made: free, basic or professional
    #[arg(long, default_value = "professional")]
    pub plan: String,
    /// Gives the teams that are made a paid seat
    #[arg(long)]
    pub paid_seat: bool,
    /// How long the model takes for each generated token, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub ms_per_token: u64,
    /// How many calls may be under way at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub concurrency: u16,
    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Replays the trace and prints the report on stdout. The first Ctrl-C starts no more rows; the second gives up.
///
/// # Errors
/// When the trace cannot be read, the sidecar cannot be reached, or, after the report is printed, when calls failed or
/// the credits that the commits answered are not what the sidecar's books grew by.
pub async fn run(arguments: ReplayArguments) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let _interrupts = AbortOnDropHandle::new(tokio::spawn(watch_interrupts(stop.clone())));
    let report = replay(&arguments, stop).await?;
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_string() };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has read enough, as `head` does; that changes nothing about the verdict.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print the report"),
        _ => verdict(&report),
    }
}

/// Replays the trace. No more rows are started once `stop` is cancelled; those under way are waited for.
///
/// # Errors
/// When the trace cannot be read, or the sidecar cannot be reached before the first row.
pub async fn replay(arguments: &ReplayArguments, stop: CancellationToken) -> anyhow::Result<ReplayReport> {
    let clock = Clock::System;
    let teams = usize::from(arguments.teams);
    let calls = plan_calls(&read(&arguments.trace)?, teams);
    let rows = calls.len();
    // The token is for the admin listener only.
    let for_data = SecurityArguments { token_file: None, ..arguments.security.clone() };
    let data = arguments.addr.clone().with(for_data.read(None)?)?;
    let admin = arguments.admin.clone().with(arguments.security.read(None)?)?;
    let sidecar = SidecarClient::connect(&data, admin, clock.clone()).await?;
    let openings = balances::open(&sidecar, teams, &arguments.plan, arguments.paid_seat).await?;
    let mut tally = Tally::new(&openings)?;

    // 48 random bits keep the ids of a team's replays apart and still short enough to read.
    let label = format!("replay-{}", &Uuid::new_v4().simple().to_string()[..12]);
    let executor = Executor::new(sidecar.clone(), clock.clone(), label.clone(), arguments.ms_per_token, &calls);
    let began_ns = clock.monotonic_ns();
    drive(Arc::new(executor), calls, usize::from(arguments.concurrency), &stop, &mut tally).await?;
    let elapsed_ns = clock.monotonic_ns() - began_ns;

    // A sidecar that went away takes its books with it, but not what is known of the calls.
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

/// Starts the calls in the order of the trace, so many at once.
async fn drive(
    executor: Arc<Executor>,
    calls: Vec<Call>,
    concurrency: usize,
    stop: &CancellationToken,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let progress = progress_bar(calls.len())?;
    let mut waiting = calls.into_iter();
    let mut under_way: JoinSet<CallOutcome> = JoinSet::new();
    loop {
        while under_way.len() < concurrency && !stop.is_cancelled() {
            let Some(call) = waiting.next() else { break };
            let executor = Arc::clone(&executor);
            under_way.spawn(async move { executor.execute(&call).await });
        }
        let Some(outcome) = under_way.join_next().await else { break };
        let outcome = outcome.context("a call stopped in the middle")?;
        if matches!(outcome.end, End::Failed { unreachable: true, .. }) {
            // Every further row would wait as long as this one did, and fail too.
            stop.cancel();
        }
        tally.count(outcome)?;
        progress.inc(1);
        if stop.is_cancelled() {
            progress.set_message("stopping after the calls under way");
        }
    }
    executor.end_unfinished_runs().await;
    progress.finish_and_clear();
    Ok(())
}

/// On stderr, and only if that is a terminal.
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
        eprintln!("given up: what is still reserved comes back when its hold runs out");
        std::process::exit(exit_code::INTERRUPTED.into());
    }
}

fn verdict(report: &ReplayReport) -> anyhow::Result<()> {
    let TeamReport { calls, failed, credits, usage_growth, books, .. } = &report.total;
    match books {
        Reconciliation::Agree if *failed == 0 => Ok(()),
        Reconciliation::Agree => bail!("{failed} of {calls} calls failed"),
        Reconciliation::Unread => {
            bail!("the commits answered {credits} credits, but GetUsage could not be read to compare")
        }
        Reconciliation::Differ => {
            let differing = report.teams.iter().filter(|team| team.books == Reconciliation::Differ);
            bail!(
                "the books of {} differ: the commits answered {credits} credits, GetUsage grew by {}. Did another \
                 client use these teams meanwhile, or did a commit go unanswered?",
                differing.map(|team| team.team.as_str()).collect::<Vec<_>>().join(", "),
                usage_growth.map_or_else(|| "an unknown number".to_owned(), |growth| growth.to_string()),
            )
        }
    }
}
