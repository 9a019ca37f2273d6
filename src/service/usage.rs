//! UsageService, with which billing and operators read usage and charges.

use std::{pin::pin, sync::Arc};

use tonic::{Request, Response, Status};

use super::{
    decode, encode,
    log::{CallSubject, answered, done, span},
};
use crate::{
    gate::Gate,
    proto::v1::{
        GetUsageRequest, GetUsageResponse, ListChargesRequest, ListChargesResponse, usage_service_server::UsageService,
    },
};

/// UsageService of a gate.
#[derive(Clone)]
pub struct UsageApi {
    gate: Arc<Gate>,
}

impl UsageApi {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl UsageService for UsageApi {
    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let (team, at_ms, page) = decode::get_usage(request.into_inner())?;
        let span = span("GetUsage", &CallSubject::team(&team));
        let answer = answered(span, pin!(self.gate.usage(&team, at_ms, &page)), done).await?;
        Ok(Response::new(encode::usage(answer)))
    }

    async fn list_charges(
        &self,
        request: Request<ListChargesRequest>,
    ) -> Result<Response<ListChargesResponse>, Status> {
        let (team, at_ms, page) = decode::list_charges(request.into_inner())?;
        let span = span("ListCharges", &CallSubject { team: team.as_ref(), ..CallSubject::default() });
        let charges = answered(span, pin!(self.gate.charges(team.as_ref(), at_ms, &page)), done).await?;
        Ok(Response::new(encode::charges(charges)))
    }
}
