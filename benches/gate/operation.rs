//! One operation of an executor, with requests of realistic length.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::Zipf;
use tollgate::{
    clock::Clock,
    proto::v1::{
        CheckAndReserveRequest, CommitRequest, Proceed, check_and_reserve_response::Decision,
        quota_service_client::QuotaServiceClient,
    },
};
use tonic::{Request, Status, transport::Channel};

use super::{
    order::{SUSPENDED_TEAM, Teams, Work, team_name},
    shared_runs::SharedRuns,
};

/// Deadline that an executor sends with each call.
const DEADLINE: Duration = Duration::from_secs(5);

/// The default hold, which is also the longest that leases answer. Every measurement is shorter, so no hold expires.
const HOLD_SECONDS: i64 = 120;

/// Number of blocks in a run.
pub(crate) const BLOCKS_PER_RUN: u32 = 10;

/// An operation with the expected answer.
pub(crate) struct Executed {
    /// End of its measured part.
    pub(crate) ended_ns: i64,
    /// Credits that it reserved.
    pub(crate) credits: i64,
}

/// Executes operations, one after the other.
pub(crate) struct Executor {
    client: QuotaServiceClient<Channel>,
    work: Work,
    choice: Choice,
    runs: Arc<SharedRuns>,
    /// Prefix of its ids, which no other executor uses.
    label: String,
    made: u32,
}

/// Chooses the team of a call.
enum Choice {
    One,
    Zipf(Zipf<f64>, SmallRng),
    InTurn { next: u32, step: u32, count: u32 },
}

impl Executor {
    /// Returns executor `number` of the `executors` that share a load.
    pub(crate) fn new(
        channel: Channel,
        work: Work,
        teams: Teams,
        number: u32,
        executors: u32,
        runs: Arc<SharedRuns>,
    ) -> anyhow::Result<Self> {
        /// Counts the executors of this process.
        static EXECUTORS: AtomicU32 = AtomicU32::new(0);
        let choice = match teams {
            Teams::One => Choice::One,
            Teams::Zipf(count) => {
                Choice::Zipf(Zipf::new(f64::from(count), 1.0)?, SmallRng::seed_from_u64(u64::from(number)))
            }
            Teams::InTurn(count) => Choice::InTurn { next: number, step: executors, count },
        };
        let label = format!("{:08x}-{:08x}", std::process::id(), EXECUTORS.fetch_add(1, Ordering::Relaxed));
        Ok(Self { client: QuotaServiceClient::new(channel), work, choice, runs, label, made: 0 })
    }

    /// Executes one operation. Any answer but the expected one is an error.
    pub(crate) async fn execute(&mut self, clock: &Clock) -> Result<Executed, Status> {
        let request = self.reserve_request();
        let team_id = if self.work.commits() { request.team_id.clone() } else { String::new() };
        let decision = self.decision(request).await?;
        let ended_ns = clock.monotonic_ns();
        match (decision, self.work) {
            (Decision::Suspend(_), Work::Suspend) => Ok(Executed { ended_ns, credits: 0 }),
            (Decision::Proceed(proceed), work) if work != Work::Suspend => {
                let credits = proceed.credits;
                if work.commits() {
                    self.commit(team_id, proceed).await?;
                }
                let ended_ns = if work == Work::ReserveAndCommit { clock.monotonic_ns() } else { ended_ns };
                Ok(Executed { ended_ns, credits })
            }
            (decision, work) => Err(Status::internal(format!("{work:?} was answered {decision:?}"))),
        }
    }

    /// Reserves for the next block, and does not settle it.
    pub(crate) async fn ask(&mut self) -> Result<Decision, Status> {
        let request = self.reserve_request();
        self.decision(request).await
    }

    async fn decision(&mut self, request: CheckAndReserveRequest) -> Result<Decision, Status> {
        let answer = self.client.check_and_reserve(with_deadline(request)).await?.into_inner();
        answer.decision.ok_or_else(|| Status::internal("an answer without a decision"))
    }

    async fn commit(&mut self, team_id: String, proceed: Proceed) -> Result<(), Status> {
        let Proceed { reservation_id, grant, .. } = proceed;
        let request = CommitRequest { team_id, reservation_id, grant, ..CommitRequest::default() };
        self.client.commit(with_deadline(request)).await.map(|_| ())
    }

    fn reserve_request(&mut self) -> CheckAndReserveRequest {
        self.made = self.made.wrapping_add(1);
        let team = self.team();
        let Self { label, made, work, .. } = self;
        let blocks_per_run = if *work == Work::Drain { 1 } else { BLOCKS_PER_RUN };
        // With one team, an executor has its own runs. With many teams, executors share the runs of each team.
        let run_id = match self.choice {
            Choice::One => format!("{label}-{:08x}", *made / blocks_per_run),
            Choice::Zipf(..) | Choice::InTurn { .. } => self.runs.next(team),
        };
        CheckAndReserveRequest {
            team_id: if *work == Work::Suspend { SUSPENDED_TEAM.to_owned() } else { team_name(team) },
            flow_id: "flow-1".to_owned(),
            run_id,
            block_id: "block-1".to_owned(),
            reservation_id: format!("{label}-{made:08x}-reservation"),
            model: "gpt-4o".to_owned(),
            hold_for: Some(prost_types::Duration { seconds: HOLD_SECONDS, nanos: 0 }),
            ..CheckAndReserveRequest::default()
        }
    }

    fn team(&mut self) -> u32 {
        match &mut self.choice {
            Choice::One => 0,
            // The sample is a rank from 1 to the number of teams, as a float.
            Choice::Zipf(ranks, random) => random.sample(*ranks) as u32 - 1,
            Choice::InTurn { next, step, count } => {
                let team = *next % *count;
                *next += *step;
                team
            }
        }
    }
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
