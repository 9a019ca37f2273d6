//! AccountService, with which billing and operators manage teams and rate cards.

use std::{pin::pin, sync::Arc};

use tonic::{Request, Response, Status};

use super::{
    Caller, decode, encode,
    log::{CallSubject, answered, done, span},
};
use crate::{
    gate::Gate,
    proto::v1::{
        GetRateCardRequest, GetRateCardResponse, GetTeamRequest, GetTeamResponse, ListAuditEntriesRequest,
        ListAuditEntriesResponse, ListRateCardsRequest, ListRateCardsResponse, ListTeamsRequest, ListTeamsResponse,
        PutRateCardRequest, PutRateCardResponse, PutTeamRequest, PutTeamResponse, SetOveragesRequest,
        SetOveragesResponse, account_service_server::AccountService,
    },
};

/// AccountService of a gate.
#[derive(Clone)]
pub struct AccountApi {
    gate: Arc<Gate>,
}

impl AccountApi {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl AccountService for AccountApi {
    async fn put_team(&self, request: Request<PutTeamRequest>) -> Result<Response<PutTeamResponse>, Status> {
        let caller = Caller::of(&request);
        let (team, settings) = decode::put_team(request.into_inner())?;
        let span = span("PutTeam", &CallSubject::team(&team));
        let terms = answered(span, pin!(self.gate.put_team(&team, &settings, caller.as_str())), done).await?;
        Ok(Response::new(PutTeamResponse { team: Some(encode::team(&team, &terms)) }))
    }

    async fn get_team(&self, request: Request<GetTeamRequest>) -> Result<Response<GetTeamResponse>, Status> {
        let team = decode::get_team(&request.into_inner())?;
        let span = span("GetTeam", &CallSubject::team(&team));
        let terms = answered(span, pin!(self.gate.team(&team)), done).await?;
        Ok(Response::new(GetTeamResponse { team: Some(encode::team(&team, &terms)) }))
    }

    async fn list_teams(&self, request: Request<ListTeamsRequest>) -> Result<Response<ListTeamsResponse>, Status> {
        let request = request.into_inner();
        let page = decode::page(request.page_size, request.page_token);
        let teams = answered(span("ListTeams", &CallSubject::default()), pin!(self.gate.teams(&page)), done).await?;
        Ok(Response::new(encode::teams(teams)))
    }

    async fn set_overages(
        &self,
        request: Request<SetOveragesRequest>,
    ) -> Result<Response<SetOveragesResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let team = decode::set_overages(&request)?;
        let change = self.gate.set_overages(&team, request.enabled, request.cap_blocks, caller.as_str());
        let terms = answered(span("SetOverages", &CallSubject::team(&team)), pin!(change), done).await?;
        Ok(Response::new(SetOveragesResponse { team: Some(encode::team(&team, &terms)) }))
    }

    async fn put_rate_card(
        &self,
        request: Request<PutRateCardRequest>,
    ) -> Result<Response<PutRateCardResponse>, Status> {
        let caller = Caller::of(&request);
        let card = decode::put_rate_card(request.into_inner())?;
        let span = span("PutRateCard", &CallSubject::default());
        let card = answered(span, pin!(self.gate.put_rate_card(card, caller.as_str())), done).await?;
        Ok(Response::new(PutRateCardResponse { rate_card: Some(encode::rate_card(card)) }))
    }

    async fn get_rate_card(
        &self,
        request: Request<GetRateCardRequest>,
    ) -> Result<Response<GetRateCardResponse>, Status> {
        let at_ms = decode::get_rate_card(request.into_inner())?;
        let card =
            answered(span("GetRateCard", &CallSubject::default()), pin!(self.gate.rate_card(at_ms)), done).await?;
        Ok(Response::new(GetRateCardResponse { rate_card: Some(encode::rate_card(card)) }))
    }

    async fn list_rate_cards(
        &self,
        request: Request<ListRateCardsRequest>,
    ) -> Result<Response<ListRateCardsResponse>, Status> {
        let request = request.into_inner();
        let page = decode::page(request.page_size, request.page_token);
        let cards =
            answered(span("ListRateCards", &CallSubject::default()), pin!(self.gate.rate_cards(&page)), done).await?;
        Ok(Response::new(encode::rate_cards(cards)))
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let (team, page) = decode::list_audit_entries(request.into_inner())?;
        let span = span("ListAuditEntries", &CallSubject { team: team.as_ref(), ..CallSubject::default() });
        let changes = answered(span, pin!(self.gate.audit(team.as_ref(), &page)), done).await?;
        Ok(Response::new(encode::audit_entries(changes)))
    }
}
