//! The load client: a separate process that makes many concurrent calls with tonic's client, like executors.
//!
//! It reads orders from standard input and writes answers to standard output, until its input ends.

use std::{
    io::{BufRead as _, Write as _},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tollgate::{
    clock::Clock,
    proto::v1::{
        GetUsageRequest, PutTeamRequest, Team, account_service_client::AccountServiceClient,
        usage_service_client::UsageServiceClient,
    },
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{
    drain,
    operation::{Executed, Executor},
    order::{Answer, Load, Measured, Order, SUSPENDED_TEAM, Until, team_name},
    process::processor_seconds,
    shared_runs::SharedRuns,
};

/// Number of calls that share a connection, as on the channel of a busy executor.
const CALLS_PER_CONNECTION: u32 = 64;

/// Number of teams that are created concurrently.
const CONCURRENT_CREATES: u32 = 64;

/// Credits of a team that must not run out of them.
const PLENTY_CREDITS: i64 = 1_000_000_000_000;

/// Range of the histogram of latencies, which keeps three digits.
const SHORTEST_NS: u64 = 1_000;
const LONGEST_NS: u64 = 60_000_000_000;

pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = runtime.block_on(carry_out(serde_json::from_str(&line?)?));
        let answer = answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}

async fn carry_out(order: Order) -> anyhow::Result<Answer> {
    match order {
        Order::MakeTeams { admin, numbers } => make_teams(&admin, numbers).await.map(|()| Answer::Done),
        Order::Load(load) => make_calls(load).await.map(Answer::Measured),
        Order::Drain(drain) => drain::carry_out(drain).await.map(Answer::Drained),
        Order::Books { admin, team } => set_aside(&admin, team).await.map(Answer::Credits),
    }
}

/// Returns the sum of a team's used, held and leased credits.
async fn set_aside(admin: &str, team_id: String) -> anyhow::Result<i64> {
    let request = GetUsageRequest { team_id, ..GetUsageRequest::default() };
    let usage = UsageServiceClient::new(connect(admin).await?).get_usage(request).await?.into_inner();
    let balance = usage.balance.context("there is always a balance")?;
    Ok(balance.used + balance.held)
}

pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    Endpoint::from_shared(uri)?.connect().await.with_context(|| format!("cannot connect to {address}"))
}

async fn make_teams(admin: &str, numbers: Range<u32>) -> anyhow::Result<()> {
    let channel = connect(admin).await?;
    make_team(channel.clone(), SUSPENDED_TEAM.to_owned(), 0).await?;
    let next = Arc::new(AtomicU32::new(numbers.start));
    let mut makers = JoinSet::new();
    for _ in 0..CONCURRENT_CREATES {
        let (channel, next) = (channel.clone(), Arc::clone(&next));
        makers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return anyhow::Ok(());
                }
                make_team(channel.clone(), team_name(number), PLENTY_CREDITS).await?;
            }
        });
    }
    while let Some(made) = makers.join_next().await {
        made??;
    }
    Ok(())
}

/// Creates a team. A team without credits is on the free plan without a seat, so its calls are suspended.
pub(crate) async fn make_team(channel: Channel, team_id: String, credits: i64) -> Result<(), Status> {
    let has_credits = credits > 0;
    let team = Team {
        team_id,
        plan: if has_credits { "professional" } else { "free" }.to_owned(),
        paid_seat: has_credits,
        billing_anchor_day: 1,
        included_credits: Some(credits),
        ..Team::default()
    };
    AccountServiceClient::new(channel).put_team(PutTeamRequest { team: Some(team) }).await.map(|_| ())
}

async fn make_calls(load: Load) -> anyhow::Result<Measured> {
    let mut channels = Vec::new();
    for _ in 0..load.at_once.div_ceil(CALLS_PER_CONNECTION) {
        channels.push(connect(&load.address).await?);
    }
    let clock = Clock::default();
    let window = Arc::new(Window::new(load.until, &clock));
    let runs = SharedRuns::of(&load.address, load.teams.count());
    let (began_ns, took_before) = (clock.monotonic_ns(), processor_seconds("self")?);
    let mut tasks = JoinSet::new();
    for (number, channel) in (0..load.at_once).zip(channels.iter().cycle()) {
        let executor = Executor::new(channel.clone(), load.work, load.teams, number, load.at_once, Arc::clone(&runs))?;
        tasks.spawn(work(executor, Arc::clone(&window), clock.clone()));
    }
    let mut all = Tally::new()?;
    while let Some(tally) = tasks.join_next().await {
        all.add(&tally??)?;
    }
    let ended_ns = clock.monotonic_ns();
    let client_cores = (processor_seconds("self")? - took_before) * 1e9 / (ended_ns - began_ns) as f64;
    Ok(Measured { client_cores, ..all.measured(window.end_ns.unwrap_or(ended_ns) - window.begin_ns) })
}

async fn work(mut executor: Executor, window: Arc<Window>, clock: Clock) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    loop {
        let began_ns = clock.monotonic_ns();
        if !window.has_more(began_ns) {
            return Ok(tally);
        }
        match executor.execute(&clock).await {
            Ok(Executed { ended_ns, credits }) => {
                tally.credits += credits;
                if window.counts(began_ns, ended_ns) {
                    tally.latencies_ns.saturating_record(u64::try_from(ended_ns - began_ns)?);
                }
            }
            Err(status) => tally.note_failure(&status),
        }
    }
}

/// Which operations are made, and which of them are measured.
struct Window {
    begin_ns: i64,
    /// `None` if the number of operations is fixed.
    end_ns: Option<i64>,
    /// Whether operations that end after `end_ns` are measured as well.
    waits: bool,
    left: AtomicU32,
}

impl Window {
    fn new(until: Until, clock: &Clock) -> Self {
        let now_ns = clock.monotonic_ns();
        let after = |begin_ns: i64, millis: u32| begin_ns + i64::from(millis) * 1_000_000;
        let (begin_ns, end_ns, operations) = match until {
            Until::Elapsed { warm_up_ms, measure_ms } => {
                let begin_ns = after(now_ns, warm_up_ms);
                (begin_ns, Some(after(begin_ns, measure_ms)), 0)
            }
            Until::Begun { measure_ms } => (now_ns, Some(after(now_ns, measure_ms)), 0),
            Until::Done { operations } => (now_ns, None, operations),
        };
        let waits = matches!(until, Until::Begun { .. });
        Self { begin_ns, end_ns, waits, left: AtomicU32::new(operations) }
    }

    fn has_more(&self, now_ns: i64) -> bool {
        match self.end_ns {
            Some(end_ns) => now_ns < end_ns,
            None => {
                let take = |left: u32| left.checked_sub(1);
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            }
        }
    }

    fn counts(&self, began_ns: i64, ended_ns: i64) -> bool {
        began_ns >= self.begin_ns && (self.waits || self.end_ns.is_none_or(|end_ns| ended_ns <= end_ns))
    }
}

struct Tally {
    latencies_ns: Histogram<u64>,
    credits: i64,
    failed: u64,
    failure: Option<String>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let latencies_ns = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3)?;
        Ok(Self { latencies_ns, credits: 0, failed: 0, failure: None })
    }

    fn note_failure(&mut self, status: &Status) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| describe(status));
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies_ns.add(&other.latencies_ns)?;
        self.credits += other.credits;
        self.failed += other.failed;
        self.failure = self.failure.take().or_else(|| other.failure.clone());
        Ok(())
    }

    fn measured(self, elapsed_ns: i64) -> Measured {
        let Self { latencies_ns, credits, failed, failure } = self;
        Measured { credits, failed, failure, ..Measured::of(&latencies_ns, elapsed_ns) }
    }
}

/// Describes a failure.
pub(crate) fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
