//! Draining a team: executors at several sidecars reserve until each is suspended, and their credits are counted.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::bail;
use tokio::task::JoinSet;
use tollgate::{clock::Clock, proto::v1::check_and_reserve_response::Decision};
use tonic::Status;

use super::{
    load::{connect, describe, make_team},
    operation::Executor,
    order::{Drain, Drained, Teams, Work, team_name},
    shared_runs::SharedRuns,
};

/// Number of failed calls after which an executor gives up.
const MAX_FAILURES: usize = 100;

/// Answers to one executor until it was suspended.
#[derive(Default)]
struct Answers {
    proceeds: Vec<Proceeded>,
    failures: Vec<Status>,
}

struct Proceeded {
    began_ns: i64,
    ended_ns: i64,
    credits: i64,
}

/// Creates the team, and lets executors reserve all its credits.
pub(crate) async fn carry_out(drain: Drain) -> anyhow::Result<Drained> {
    make_team(connect(&drain.admin).await?, team_name(0), drain.credits).await?;
    let clock = Clock::default();
    let suspended_ns = Arc::new(AtomicI64::new(i64::MAX));
    let began_ns = clock.monotonic_ns();
    let runs = SharedRuns::of(&drain.admin, 1);
    let mut tasks = JoinSet::new();
    for address in &drain.addresses {
        let channel = connect(address).await?;
        for number in 0..drain.at_once {
            let executor =
                Executor::new(channel.clone(), Work::Drain, Teams::One, number, drain.at_once, Arc::clone(&runs))?;
            tasks.spawn(ask_until_suspended(executor, clock.clone(), Arc::clone(&suspended_ns)));
        }
    }
    let all = tasks.join_all().await;
    let first_ns = suspended_ns.load(Ordering::SeqCst);
    let mut drained = Drained { seconds: (clock.monotonic_ns() - began_ns) as f64 / 1e9, ..Drained::default() };
    for answers in all {
        for Proceeded { began_ns, ended_ns, credits } in answers.proceeds {
            if ended_ns < first_ns {
                drained.answered_before += credits;
            }
            if began_ns < first_ns {
                drained.begun_before += credits;
            } else {
                drained.begun_after += credits;
            }
        }
        drained.failed += answers.failures.len() as u64;
        drained.failure = drained.failure.or_else(|| answers.failures.first().map(describe));
    }
    if first_ns == i64::MAX {
        bail!("no executor was suspended: {}", drained.failure.unwrap_or_default());
    }
    Ok(drained)
}

async fn ask_until_suspended(mut executor: Executor, clock: Clock, suspended_ns: Arc<AtomicI64>) -> Answers {
    let mut answers = Answers::default();
    while answers.failures.len() < MAX_FAILURES {
        let began_ns = clock.monotonic_ns();
        let decision = executor.ask().await;
        let ended_ns = clock.monotonic_ns();
        match decision {
            Ok(Decision::Proceed(proceed)) => {
                answers.proceeds.push(Proceeded { began_ns, ended_ns, credits: proceed.credits });
            }
            Ok(Decision::Suspend(_)) => {
                suspended_ns.fetch_min(ended_ns, Ordering::SeqCst);
                break;
            }
            Err(status) => answers.failures.push(status),
        }
    }
    answers
}
