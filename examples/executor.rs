//! A flow executor: for each block, reserve credits, call the model, and commit what was used.
//!
//! Start a sidecar, which creates demo teams in an empty store, and run the example beside it:
//!
//! ```console
//! $ cargo run --release -- serve --store memory
//! $ cargo run --example executor -- 127.0.0.1:50051 demo-basic
//! ```
//!
//! The types of the contract come from the `tollgate` crate here. A program of your own generates them from
//! `proto/tollgate/v1`, for example with `tonic-prost-build`.

use std::{error::Error as _, time::Duration};

use anyhow::bail;
use backon::{ExponentialBuilder, Retryable as _};
use tollgate::proto::v1::{
    CheckAndReserveRequest, CommitRequest, EndRunRequest, ExtendRequest, Proceed, ReleaseRequest, ReservationState,
    Suspend, check_and_reserve_response::Decision, quota_service_client::QuotaServiceClient,
};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// Timeout of one attempt at a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between two extensions of a hold while the model works. It is well below the default hold of 2 minutes.
const EXTEND_INTERVAL: Duration = Duration::from_secs(60);

/// A block that calls a model, in one run of a flow of a team.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Team that pays.
    pub(crate) team: String,
    /// Flow that the block belongs to.
    pub(crate) flow: String,
    /// Execution of the flow.
    pub(crate) run: String,
    /// The block itself.
    pub(crate) block: String,
    /// Model that it calls.
    pub(crate) model: String,
}

/// What became of a block.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The model was called, and this many credits were charged.
    Charged(i64),
    /// The model failed, and nothing was charged.
    Released,
    /// The team is at its limit: park the block, and ask again after `retry_after` or at `resumes_at`.
    Suspended(Suspend),
    /// An earlier attempt with the same reservation id was settled: the model must not be called again.
    AlreadySettled,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, team] = &arguments[..] else {
        bail!("usage: executor ADDRESS TEAM, where ADDRESS is host:port or unix:/path");
    };
    let client = connect(address)?;
    let run = Uuid::new_v4().to_string();
    for number in 1..=3 {
        let block = Block {
            team: team.clone(),
            flow: "example-flow".to_owned(),
            run: run.clone(),
            block: format!("block-{number}"),
            model: "gpt-4o".to_owned(),
        };
        match run_block(&client, &block, call_model()).await? {
            Outcome::Charged(credits) => println!("{}: charged {credits} credits", block.block),
            Outcome::Released => println!("{}: the model failed, nothing is charged", block.block),
            Outcome::Suspended(suspend) => println!("{}: parked. {}", block.block, suspend.message),
            Outcome::AlreadySettled => println!("{}: settled by an earlier attempt", block.block),
        }
    }
    end_run(&client, team, &run).await?;
    Ok(())
}

/// Stands for the call of a model. It returns how many units were used, and why the call failed otherwise.
async fn call_model() -> Result<u32, String> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(1)
}

/// Returns a client of the sidecar at `host:port` or `unix:/path`. It connects with the first call, and again when needed.
pub(crate) fn connect(address: &str) -> Result<QuotaServiceClient<Channel>, tonic::transport::Error> {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    Ok(QuotaServiceClient::new(Endpoint::from_shared(uri)?.timeout(CALL_TIMEOUT).connect_lazy()))
}

/// Runs one block: asks for its credits, calls the model if they are held, and settles the reservation.
pub(crate) async fn run_block(
    client: &QuotaServiceClient<Channel>,
    block: &Block,
    model: impl Future<Output = Result<u32, String>>,
) -> Result<Outcome, Status> {
    // An id of the executor's own makes the call safe to repeat: a repeat returns the first result.
    let reservation_id = Uuid::new_v4().to_string();
    let request = CheckAndReserveRequest {
        team_id: block.team.clone(),
        flow_id: block.flow.clone(),
        run_id: block.run.clone(),
        block_id: block.block.clone(),
        reservation_id,
        model: block.model.clone(),
        ..CheckAndReserveRequest::default()
    };
    // The executor may give this call up. Credits that were held all the same come back when the hold runs out.
    let answer = repeat(bounded(), request, |request| {
        let mut client = client.clone();
        async move { client.check_and_reserve(request).await }
    })
    .await?;
    let proceed = match answer.decision {
        Some(Decision::Proceed(proceed)) => proceed,
        Some(Decision::Suspend(suspend)) => return Ok(Outcome::Suspended(suspend)),
        None => return Err(Status::internal("the answer has no decision")),
    };
    if proceed.state() != ReservationState::Open {
        return Ok(Outcome::AlreadySettled);
    }

    // A model may take longer than the hold lasts.
    let extending = tokio::spawn(keep_holding(client.clone(), block.team.clone(), proceed.clone()));
    let called = model.await;
    extending.abort();

    match called {
        Ok(units) => commit(client, &block.team, proceed, units).await.map(Outcome::Charged),
        Err(_) => release(client, &block.team, proceed).await.map(|()| Outcome::Released),
    }
}

/// Extends a reservation's hold again and again.
async fn keep_holding(client: QuotaServiceClient<Channel>, team: String, proceed: Proceed) {
    loop {
        tokio::time::sleep(EXTEND_INTERVAL).await;
        let request = ExtendRequest {
            team_id: team.clone(),
            reservation_id: proceed.reservation_id.clone(),
            grant: proceed.grant.clone(),
            hold_for: None,
        };
        // A hold that could not be extended runs out. The commit is then late, and still counts.
        let _ = client.clone().extend(request).await;
    }
}

/// Charges what was used. This is repeated until it is answered, because the model has run; it is charged once all the same.
async fn commit(client: &QuotaServiceClient<Channel>, team: &str, proceed: Proceed, units: u32) -> Result<i64, Status> {
    let request = CommitRequest {
        team_id: team.to_owned(),
        reservation_id: proceed.reservation_id,
        // The grant lets every sidecar settle the reservation, even if the one that made it is gone.
        grant: proceed.grant,
        units: Some(units),
        model: None,
    };
    let committed = repeat(backoff().without_max_times(), request, |request| {
        let mut client = client.clone();
        async move { client.commit(request).await }
    });
    Ok(committed.await?.credits)
}

/// Gives the credits back. If this fails, they come back when the hold runs out.
async fn release(client: &QuotaServiceClient<Channel>, team: &str, proceed: Proceed) -> Result<(), Status> {
    let request =
        ReleaseRequest { team_id: team.to_owned(), reservation_id: proceed.reservation_id, grant: proceed.grant };
    let released = repeat(bounded(), request, |request| {
        let mut client = client.clone();
        async move { client.release(request).await }
    });
    released.await.map(drop)
}

/// Ends a run, which lets no more of its blocks pass the team's limit.
pub(crate) async fn end_run(client: &QuotaServiceClient<Channel>, team: &str, run: &str) -> Result<(), Status> {
    let request = EndRunRequest { team_id: team.to_owned(), run_id: run.to_owned() };
    let ended = repeat(bounded(), request, |request| {
        let mut client = client.clone();
        async move { client.end_run(request).await }
    });
    ended.await.map(drop)
}

/// Makes a call, and repeats it with the same content while its outcome is unknown or the sidecar asks for a repeat.
async fn repeat<Request, Answer, Attempt>(
    backoff: ExponentialBuilder,
    request: Request,
    call: impl Fn(Request) -> Attempt,
) -> Result<Answer, Status>
where
    Request: Clone,
    Attempt: Future<Output = Result<Response<Answer>, Status>>,
{
    let attempt = || async { call(request.clone()).await.map(Response::into_inner) };
    attempt.retry(backoff).when(is_worth_repeating).adjust(delay).await
}

/// Whether a repeat can bring another answer. Every other error needs a change, which its details name.
fn is_worth_repeating(status: &Status) -> bool {
    // Only an error of the connection itself has a source.
    let is_of_connection = status.source().is_some();
    let is_temporary =
        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted);
    is_of_connection || is_temporary
}

/// The delay before a repeat: what the sidecar says in RetryInfo, or else that of the backoff.
fn delay(status: &Status, of_backoff: Option<Duration>) -> Option<Duration> {
    let of_sidecar = status.get_details_retry_info().and_then(|info| info.retry_delay);
    of_backoff.map(|of_backoff| of_sidecar.unwrap_or(of_backoff))
}

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
}

/// The backoff of a call that may be given up.
fn bounded() -> ExponentialBuilder {
    backoff().with_max_times(5)
}
