//! QuotaService: what flow executors ask.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tracing::Span;

use super::{
    decode, encode,
    log::{self, Subject, answered, span},
};
use crate::{
    gate::{Gate, calls::SettleCall},
    proto::v1::{
        BeginRunRequest, BeginRunResponse, CheckAndReserveRequest, CheckAndReserveResponse, CommitRequest,
        CommitResponse, EndRunRequest, EndRunResponse, ExtendRequest, ExtendResponse, GetReservationRequest,
        GetReservationResponse, ReleaseRequest, ReleaseResponse, quota_service_server::QuotaService,
    },
};

/// QuotaService over a gate.
#[derive(Clone)]
pub struct QuotaApi {
    gate: Arc<Gate>,
}

impl QuotaApi {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl QuotaService for QuotaApi {
    async fn check_and_reserve(
        &self,
        request: Request<CheckAndReserveRequest>,
    ) -> Result<Response<CheckAndReserveResponse>, Status> {
        let call = decode::reserve(&request.into_inner())?;
        let subject = Subject {
            flow: Some(&call.flow),
            run: call.run.as_ref(),
            reservation: call.reservation.as_ref(),
            ..Subject::team(&call.team)
        };
        let span = span("CheckAndReserve", &subject);
        let answer = answered(span, self.gate.check_and_reserve(call), log::reserve).await?;
        Ok(Response::new(encode::reserve(answer)))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let (call, actual) = decode::commit(request.into_inner())?;
        let span = of_settlement("Commit", &call);
        let answer = answered(span, self.gate.commit(call, actual), log::commit).await?;
        Ok(Response::new(encode::commit(&answer)))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let call = decode::release(request.into_inner())?;
        let span = of_settlement("Release", &call);
        let answer = answered(span, self.gate.release(call), log::release).await?;
        Ok(Response::new(encode::release(&answer)))
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        let (call, hold_ms) = decode::extend(request.into_inner())?;
        let span = of_settlement("Extend", &call);
        let expires_at_ms = answered(span, self.gate.extend(call, hold_ms), log::extend).await?;
        Ok(Response::new(encode::extend(expires_at_ms)))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let (team, id) = decode::get_reservation(&request.into_inner())?;
        let span = span("GetReservation", &Subject { reservation: Some(&id), ..Subject::team(&team) });
        let reservation = answered(span, self.gate.reservation(&team, &id), log::done).await?;
        Ok(Response::new(encode::get_reservation(&team, &id, &reservation)))
    }

    async fn begin_run(&self, request: Request<BeginRunRequest>) -> Result<Response<BeginRunResponse>, Status> {
        let (team, flow, run) = decode::begin_run(&request.into_inner())?;
        let subject = Subject { flow: Some(&flow), run: Some(&run), ..Subject::team(&team) };
        let span = span("BeginRun", &subject);
        let answer = answered(span, self.gate.begin_run(&team, &flow, &run), log::begin_run).await?;
        Ok(Response::new(encode::begin_run(&answer)))
    }

    async fn end_run(&self, request: Request<EndRunRequest>) -> Result<Response<EndRunResponse>, Status> {
        let (team, run) = decode::end_run(&request.into_inner())?;
        let span = span("EndRun", &Subject { run: Some(&run), ..Subject::team(&team) });
        let answer = answered(span, self.gate.end_run(&team, &run), log::end_run).await?;
        Ok(Response::new(encode::end_run(answer)))
    }
}

/// The span of a call about a reservation that was made.
fn of_settlement(rpc: &'static str, call: &SettleCall) -> Span {
    span(rpc, &Subject { reservation: Some(&call.reservation), ..Subject::team(&call.team) })
}
