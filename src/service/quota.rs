//! QuotaService, which flow executors call.

use std::{pin::pin, sync::Arc};

use tonic::{Request, Response, Status};
use tracing::Span;

use super::{
    AllowedTeams, Caller, decode, encode,
    log::{self, CallSubject, answered, span},
};
use crate::{
    gate::{Gate, calls::SettleCall},
    proto::v1::{
        BeginRunRequest, BeginRunResponse, CheckAndReserveRequest, CheckAndReserveResponse, CommitRequest,
        CommitResponse, EndRunRequest, EndRunResponse, ExtendRequest, ExtendResponse, GetReservationRequest,
        GetReservationResponse, ReleaseRequest, ReleaseResponse, quota_service_server::QuotaService,
    },
};

/// QuotaService of a gate, on behalf of one caller.
#[derive(Clone)]
pub struct QuotaApi {
    gate: Arc<Gate>,
    /// The teams that the caller may ask for.
    teams: AllowedTeams,
}

impl QuotaApi {
    /// Returns QuotaService for a caller that may ask for all teams.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, teams: AllowedTeams::All }
    }

    /// Returns the service on behalf of a caller, limited to its teams.
    pub fn on_behalf_of(&self, caller: &Caller) -> Self {
        Self { gate: Arc::clone(&self.gate), teams: caller.teams().clone() }
    }

    /// Answers a request of tonic's with one of the methods below, on behalf of its caller. The fast path calls those methods
    /// directly.
    async fn adapt<Asked, Answered, Call>(
        &self,
        request: Request<Asked>,
        method: impl FnOnce(Self, Asked) -> Call,
    ) -> Result<Response<Answered>, Status>
    where
        Call: Future<Output = Result<Answered, Status>>,
    {
        let caller = Caller::of(&request);
        method(self.on_behalf_of(&caller), request.into_inner()).await.map(Response::new)
    }

    pub(crate) async fn check_and_reserve(
        self,
        request: CheckAndReserveRequest,
    ) -> Result<CheckAndReserveResponse, Status> {
        let call = decode::reserve(&request)?;
        self.teams.check(&call.team)?;
        let subject = CallSubject {
            flow: Some(&call.flow),
            run: call.run.as_ref(),
            reservation: call.reservation.as_ref(),
            ..CallSubject::team(&call.team)
        };
        let span = span("CheckAndReserve", &subject);
        let answer = answered(span, pin!(self.gate.check_and_reserve(call)), log::reserve).await?;
        Ok(encode::reserve(answer))
    }

    pub(crate) async fn commit(self, request: CommitRequest) -> Result<CommitResponse, Status> {
        let (call, actual) = decode::commit(request)?;
        self.teams.check(&call.team)?;
        let span = settlement_span("Commit", &call);
        let answer = answered(span, pin!(self.gate.commit(call, actual)), log::commit).await?;
        Ok(encode::commit(&answer))
    }

    pub(crate) async fn release(self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        let call = decode::release(request)?;
        self.teams.check(&call.team)?;
        let span = settlement_span("Release", &call);
        let answer = answered(span, pin!(self.gate.release(call)), log::release).await?;
        Ok(encode::release(&answer))
    }

    pub(crate) async fn extend(self, request: ExtendRequest) -> Result<ExtendResponse, Status> {
        let (call, hold_ms) = decode::extend(request)?;
        self.teams.check(&call.team)?;
        let span = settlement_span("Extend", &call);
        let expires_at_ms = answered(span, pin!(self.gate.extend(call, hold_ms)), log::extend).await?;
        Ok(encode::extend(expires_at_ms))
    }

    pub(crate) async fn get_reservation(
        self,
        request: GetReservationRequest,
    ) -> Result<GetReservationResponse, Status> {
        let (team, id) = decode::get_reservation(&request)?;
        self.teams.check(&team)?;
        let span = span("GetReservation", &CallSubject { reservation: Some(&id), ..CallSubject::team(&team) });
        let reservation = answered(span, pin!(self.gate.reservation(&team, &id)), log::done).await?;
        Ok(encode::get_reservation(&team, &id, &reservation))
    }

    pub(crate) async fn begin_run(self, request: BeginRunRequest) -> Result<BeginRunResponse, Status> {
        let (team, flow, run) = decode::begin_run(&request)?;
        self.teams.check(&team)?;
        let subject = CallSubject { flow: Some(&flow), run: Some(&run), ..CallSubject::team(&team) };
        let span = span("BeginRun", &subject);
        let answer = answered(span, pin!(self.gate.begin_run(&team, &flow, &run)), log::begin_run).await?;
        Ok(encode::begin_run(&answer))
    }

    pub(crate) async fn end_run(self, request: EndRunRequest) -> Result<EndRunResponse, Status> {
        let (team, run) = decode::end_run(&request)?;
        self.teams.check(&team)?;
        let span = span("EndRun", &CallSubject { run: Some(&run), ..CallSubject::team(&team) });
        let answer = answered(span, pin!(self.gate.end_run(&team, &run)), log::end_run).await?;
        Ok(encode::end_run(answer))
    }
}

/// The service as tonic calls it: each method adapts the one of the same name above.
#[tonic::async_trait]
impl QuotaService for QuotaApi {
    async fn check_and_reserve(
        &self,
        request: Request<CheckAndReserveRequest>,
    ) -> Result<Response<CheckAndReserveResponse>, Status> {
        self.adapt(request, Self::check_and_reserve).await
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        self.adapt(request, Self::commit).await
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        self.adapt(request, Self::release).await
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        self.adapt(request, Self::extend).await
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        self.adapt(request, Self::get_reservation).await
    }

    async fn begin_run(&self, request: Request<BeginRunRequest>) -> Result<Response<BeginRunResponse>, Status> {
        self.adapt(request, Self::begin_run).await
    }

    async fn end_run(&self, request: Request<EndRunRequest>) -> Result<Response<EndRunResponse>, Status> {
        self.adapt(request, Self::end_run).await
    }
}

/// Returns the span of a call about an existing reservation.
fn settlement_span(rpc: &'static str, call: &SettleCall) -> Span {
    span(rpc, &CallSubject { reservation: Some(&call.reservation), ..CallSubject::team(&call.team) })
}
