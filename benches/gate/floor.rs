//! The floor: a QuotaService that decides nothing, on tonic's own server with the settings of a sidecar's listener.
//!
//! Its answers are constant, and as long as those of a sidecar. Its cost is that of gRPC itself.

use std::io::Write as _;

use bytes::Bytes;
use prost_types::{Duration, Timestamp};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tollgate::{
    address::ListenAddress,
    proto::v1::{
        Balance, Basis, BeginRunRequest, BeginRunResponse, CheckAndReserveRequest, CheckAndReserveResponse,
        CommitRequest, CommitResponse, EndRunRequest, EndRunResponse, ExtendRequest, ExtendResponse,
        GetReservationRequest, GetReservationResponse, Proceed, ReleaseRequest, ReleaseResponse, Remedy,
        ReservationState, Suspend, SuspendReason,
        check_and_reserve_response::Decision,
        quota_service_server::{QuotaService, QuotaServiceServer},
    },
    serve::Limits,
};
use tonic::{
    Request, Response, Status,
    transport::server::{Router, Server, TcpIncoming},
};
use tracing_subscriber::EnvFilter;

use super::order::SUSPENDED_TEAM;

/// A grant like those of a sidecar.
const GRANT: &[u8] =
    b"1|open|2|allotment|1793491200000|1796083200000|2025-01-22|professional|flow-1|00000001-00000001-00000001\
    |block-1|gpt-4o|1|run|1795406777146|1795410377146";

/// Serves until it is killed. The first line of its output is its address.
pub(crate) fn run(address: &ListenAddress) -> anyhow::Result<()> {
    // The same log level as a sidecar, so that suppressed messages cost the same on both sides.
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(address))
}

async fn serve(address: &ListenAddress) -> anyhow::Result<()> {
    match address {
        ListenAddress::Tcp { host, port } => {
            let listener = TcpListener::bind((host.as_str(), *port)).await?;
            say(&listener.local_addr()?.into())?;
            Ok(server().serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?)
        }
        ListenAddress::Unix(path) => {
            let listener = UnixListener::bind(path)?;
            say(address)?;
            Ok(server().serve_with_incoming(UnixListenerStream::new(listener)).await?)
        }
    }
}

fn say(address: &ListenAddress) -> std::io::Result<()> {
    println!("executors: {address}");
    std::io::stdout().flush()
}

fn server() -> Router {
    let limits = Limits::default();
    Server::builder()
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .max_concurrent_streams(limits.max_calls_per_connection)
        .http2_max_header_list_size(limits.max_header_bytes)
        .add_service(QuotaServiceServer::new(Floor::new()))
}

struct Floor {
    proceed: Proceed,
    suspend: Suspend,
    balance: Balance,
}

impl Floor {
    fn new() -> Self {
        let moment = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let balance = Balance {
            plan: "professional".to_owned(),
            cycle_start: moment(1_793_491_200),
            cycle_end: moment(1_796_083_200),
            included: 1_000_000_000_000,
            used: 123_456,
            held: 12_345,
            remaining: 999_999_864_199,
            ..Balance::default()
        };
        let proceed = Proceed {
            credits: 2,
            expires_at: Some(Timestamp { seconds: 1_795_410_377, nanos: 146_000_000 }),
            basis: Basis::Allotment.into(),
            rate_card: "2025-01-22".to_owned(),
            grant: Bytes::from_static(GRANT),
            state: ReservationState::Open.into(),
            ..Proceed::default()
        };
        let suspend = Suspend {
            reason: SuspendReason::BlocksStopped.into(),
            resumes_at: balance.cycle_end,
            retry_after: Some(Duration { seconds: 30, nanos: 0 }),
            remedies: vec![Remedy::WaitForNextCycle.into(), Remedy::UpgradePlan.into()],
            message:
                "The credits left in this cycle do not cover this call, and blocks have stopped. What helps: waiting \
                      for the next cycle, or upgrading the plan."
                    .to_owned(),
        };
        Self { proceed, suspend, balance }
    }
}

#[tonic::async_trait]
impl QuotaService for Floor {
    async fn check_and_reserve(
        &self,
        request: Request<CheckAndReserveRequest>,
    ) -> Result<Response<CheckAndReserveResponse>, Status> {
        let CheckAndReserveRequest { team_id, reservation_id, .. } = request.into_inner();
        let decision = if team_id == SUSPENDED_TEAM {
            Decision::Suspend(self.suspend.clone())
        } else {
            Decision::Proceed(Proceed { reservation_id, ..self.proceed.clone() })
        };
        Ok(Response::new(CheckAndReserveResponse { decision: Some(decision), balance: Some(self.balance.clone()) }))
    }

    async fn commit(&self, _: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let balance = Some(self.balance.clone());
        Ok(Response::new(CommitResponse { credits: 2, balance, ..CommitResponse::default() }))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        not_measured()
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        not_measured()
    }

    async fn get_reservation(
        &self,
        _: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        not_measured()
    }

    async fn begin_run(&self, _: Request<BeginRunRequest>) -> Result<Response<BeginRunResponse>, Status> {
        not_measured()
    }

    async fn end_run(&self, _: Request<EndRunRequest>) -> Result<Response<EndRunResponse>, Status> {
        not_measured()
    }
}

fn not_measured<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the floor has only the calls that are measured"))
}
