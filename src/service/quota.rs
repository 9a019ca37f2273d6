//! QuotaService: what flow executors ask.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{decode, encode};
use crate::{
    gate::Gate,
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
        let answer = self.gate.check_and_reserve(call).await?;
        Ok(Response::new(encode::reserve(answer)))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let (call, actual) = decode::commit(request.into_inner())?;
        let answer = self.gate.commit(call, actual).await?;
        Ok(Response::new(encode::commit(&answer)))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let call = decode::release(request.into_inner())?;
        let answer = self.gate.release(call).await?;
        Ok(Response::new(encode::release(&answer)))
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        let (call, hold_ms) = decode::extend(request.into_inner())?;
        let expires_at_ms = self.gate.extend(call, hold_ms).await?;
        Ok(Response::new(encode::extend(expires_at_ms)))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let (team, id) = decode::get_reservation(&request.into_inner())?;
        let reservation = self.gate.reservation(&team, &id).await?;
        Ok(Response::new(encode::get_reservation(&team, &id, &reservation)))
    }

    async fn begin_run(&self, request: Request<BeginRunRequest>) -> Result<Response<BeginRunResponse>, Status> {
        let (team, flow, run) = decode::begin_run(&request.into_inner())?;
        let answer = self.gate.begin_run(&team, &flow, &run).await?;
        Ok(Response::new(encode::begin_run(&answer)))
    }

    async fn end_run(&self, request: Request<EndRunRequest>) -> Result<Response<EndRunResponse>, Status> {
        let (team, run) = decode::end_run(&request.into_inner())?;
        let answer = self.gate.end_run(&team, &run).await?;
        Ok(Response::new(encode::end_run(answer)))
    }
}
