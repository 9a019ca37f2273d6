//! AccountService's requests.

use std::collections::HashMap;

use prost_types::Timestamp;
use tollgate::proto::v1::{
    GetRateCardRequest, GetTeamRequest, ListAuditEntriesRequest, ListRateCardsRequest, ListTeamsRequest,
    PutRateCardRequest, PutTeamRequest, Rate, RateCard, SetOveragesRequest, Team, Unit,
};
use tonic::Code;

use super::{
    super::stories::stage::{TEAM, moment},
    table::{FIRST_MOMENT, LAST_MOMENT, PAGE_SIZES, Table, ids, no_ids, no_moments},
};

const PUT_TEAM: &str = "/tollgate.v1.AccountService/PutTeam";
const GET_TEAM: &str = "/tollgate.v1.AccountService/GetTeam";
const LIST_TEAMS: &str = "/tollgate.v1.AccountService/ListTeams";
const SET_OVERAGES: &str = "/tollgate.v1.AccountService/SetOverages";
const PUT_RATE_CARD: &str = "/tollgate.v1.AccountService/PutRateCard";
const GET_RATE_CARD: &str = "/tollgate.v1.AccountService/GetRateCard";
const LIST_RATE_CARDS: &str = "/tollgate.v1.AccountService/ListRateCards";
const LIST_AUDIT_ENTRIES: &str = "/tollgate.v1.AccountService/ListAuditEntries";

const NO_TEAM: (Code, &str) = (Code::NotFound, "TEAM_NOT_FOUND");
const TOO_SOON: (Code, &str) = (Code::FailedPrecondition, "NOTICE_TOO_SHORT");
const NO_CARD: (Code, &str) = (Code::NotFound, "RATE_CARD_NOT_FOUND");
const VERSION_REUSED: (Code, &str) = (Code::AlreadyExists, "ID_REUSED");

const NO_PLANS: [&str; 7] = ["", "gold", "Free", "free ", "free\0", "frée", "free\r\nbasic"];

const NO_PRICES: [i64; 5] = [-1, 1_000_001, 1 << 53, i64::MAX, i64::MIN];

/// Adds the rows of this service.
pub(super) fn rows(table: &mut Table) {
    put_team(table);
    teams(table);
    put_rate_card(table);
    rates(table);
    rate_cards(table);
    audit_entries(table);
}

/// Returns the team's present terms.
fn team() -> Team {
    let (team_id, plan) = (TEAM.to_owned(), "professional".to_owned());
    Team { team_id, plan, paid_seat: true, billing_anchor_day: 1, ..Team::default() }
}

fn of(request: &mut PutTeamRequest) -> &mut Team {
    request.team.get_or_insert_default()
}

fn put_team(table: &mut Table) {
    const OUTPUT_ONLY: &str = "output only: not looked at";
    let other = Team { team_id: "another".to_owned(), ..team() };
    table
        .rpc(PUT_TEAM, PutTeamRequest { team: Some(team()) })
        .refuses("team", [()], |request, ()| request.team = None)
        .id("team.team_id", |request, id| of(request).team_id = id)
        .accepts("team.team_id", ids(), |request, id| of(request).team_id = id)
        .refuses("team.plan", NO_PLANS, |request, plan| of(request).plan = plan.to_owned())
        .free("team.paid_seat", "a switch")
        .refuses("team.billing_anchor_day", [0, 32, 256, 257, 287, u32::MAX], |request, day| {
            of(request).billing_anchor_day = day;
        })
        .refuses("team.included_credits", [-1, i64::MIN, 1_000_000_000_001, i64::MAX], |request, credits| {
            of(request).included_credits = Some(credits);
        })
        .free("team.overages_enabled", OUTPUT_ONLY)
        .free("team.overage_cap_blocks", OUTPUT_ONLY)
        .free("team.created_at", OUTPUT_ONLY)
        .free("team.updated_at", OUTPUT_ONLY);
    table
        .also(PUT_TEAM, PutTeamRequest { team: Some(other) })
        .accepts("team.plan", ["free", "basic", "professional"], |request, plan| of(request).plan = plan.to_owned())
        .accepts("team.billing_anchor_day", [1, 28, 29, 31], |request, day| of(request).billing_anchor_day = day)
        .accepts("team.included_credits", [Some(0), Some(1), Some(1_000_000_000_000), None], |request, credits| {
            of(request).included_credits = credits;
        });
}

fn teams(table: &mut Table) {
    let team_id = TEAM.to_owned();
    table
        .rpc(GET_TEAM, GetTeamRequest { team_id: team_id.clone() })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id);
    table
        .rpc(LIST_TEAMS, ListTeamsRequest::default())
        .accepts("page_size", PAGE_SIZES, |request, size| request.page_size = size)
        .refuses("page_token", no_ids(), |request, token| request.page_token = token)
        .accepts("page_token", ids().chain([String::new()]), |request, token| request.page_token = token);
    table
        .rpc(SET_OVERAGES, SetOveragesRequest { team_id, enabled: true, cap_blocks: None })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .free("enabled", "a switch")
        .accepts("cap_blocks", [0, 1, u32::MAX], |request, blocks| request.cap_blocks = Some(blocks));
}

fn rate(model: &str) -> Rate {
    Rate { model: model.to_owned(), unit: Unit::Call.into(), credits: 1, ..Rate::default() }
}

fn request(version: &str) -> PutRateCardRequest {
    let card = RateCard {
        version: version.to_owned(),
        effective_at: Some(moment("2026-01-01T00:00:00Z")),
        rates: vec![rate("gpt-4o"), rate("gpt-4")],
    };
    PutRateCardRequest { rate_card: Some(card) }
}

fn card(request: &mut PutRateCardRequest) -> &mut RateCard {
    request.rate_card.get_or_insert_default()
}

fn put_rate_card(table: &mut Table) {
    let many = |rates| (0..rates).map(|number| rate(&format!("m{number}"))).collect();
    table
        .rpc(PUT_RATE_CARD, request("next"))
        .refuses("rate_card", [()], |request, ()| request.rate_card = None)
        .id("rate_card.version", |request, id| card(request).version = id)
        .fails_with(VERSION_REUSED, "rate_card.version", ["2025-01-22"], |request, id| {
            card(request).version = id.to_owned()
        })
        .refuses("rate_card.effective_at", no_moments().map(Some).chain([None]), |request, at| {
            card(request).effective_at = at
        })
        .fails_with(TOO_SOON, "rate_card.effective_at", [FIRST_MOMENT, Timestamp::default()], |request, at| {
            card(request).effective_at = Some(at);
        })
        .fails_with(TOO_SOON, "rate_card.effective_at", [moment("2025-06-17T08:59:59.999999999Z")], |request, at| {
            card(request).effective_at = Some(at);
        })
        .accepts("rate_card.effective_at", [moment("2025-06-17T09:00:00Z"), LAST_MOMENT], |request, at| {
            card(request).version = format!("from-{}", at.seconds);
            card(request).effective_at = Some(at);
        })
        .refuses("rate_card.rates", [Vec::new(), many(1_001)], |request, rates| card(request).rates = rates)
        .accepts("rate_card.rates", [many(1_000)], |request, rates| {
            card(request).version = "many".to_owned();
            card(request).effective_at = Some(moment("2026-02-01T00:00:00Z"));
            card(request).rates = rates;
        });
}

fn rates(table: &mut Table) {
    let by_plan = |plan: &str, credits| HashMap::from([(plan.to_owned(), credits)]);
    table
        .also(PUT_RATE_CARD, request("next"))
        .id("rate_card.rates[1].model", |request, id| card(request).rates[1].model = id)
        .refuses("rate_card.rates[1].model", ["gpt-4o"], |request, id| card(request).rates[1].model = id.to_owned())
        .refuses("rate_card.rates[1].model", ["alias"], |request, id| {
            card(request).rates[0].aliases = vec![id.to_owned()];
            card(request).rates[1].model = id.to_owned();
        })
        .id("rate_card.rates[0].aliases", |request, id| card(request).rates[0].aliases = vec!["fine".to_owned(), id])
        .refuses("rate_card.rates[1].aliases", [["gpt-4o", "x"], ["gpt-4", "x"], ["x", "x"]], |request, aliases| {
            card(request).rates[1].aliases = aliases.map(str::to_owned).into();
        })
        .refuses("rate_card.rates[0].aliases", [1_001, 5_000], |request, names| {
            card(request).rates[0].aliases = (0..names).map(|name| format!("a{name}")).collect();
        })
        .refuses("rate_card.rates[1].unit", [0, 3, 1_000, -1, i32::MAX, i32::MIN], |request, unit| {
            card(request).rates[1].unit = unit;
        })
        .refuses("rate_card.rates[1].credits", NO_PRICES, |request, credits| card(request).rates[1].credits = credits)
        .refuses("rate_card.rates[0].credits_by_plan", NO_PLANS, move |request, plan| {
            card(request).rates[0].credits_by_plan = by_plan(plan, 1);
        })
        .refuses("rate_card.rates[0].credits_by_plan", NO_PRICES, move |request, credits| {
            card(request).rates[0].credits_by_plan = by_plan("basic", credits);
        });
    let priced = |request: &mut PutRateCardRequest, credits: i64, days: i64| {
        card(request).version = format!("priced-{credits}-{days}");
        card(request).effective_at.get_or_insert_default().seconds += 86_400 * days + credits;
    };
    table
        .also(PUT_RATE_CARD, request("priced"))
        .accepts("rate_card.rates[1].credits", [0, 1_000_000], move |request, credits| {
            priced(request, credits, 1);
            card(request).rates[1].credits = credits;
        })
        .accepts("rate_card.rates[1].credits_by_plan", [0, 1_000_000], move |request, credits| {
            priced(request, credits, 2);
            card(request).rates[1].credits_by_plan = by_plan("professional", credits);
        })
        .accepts("rate_card.rates[1].aliases", [1_000], move |request, names| {
            priced(request, names, 3);
            card(request).rates[1].aliases = (0..names).map(|name| format!("a{name}")).collect();
        });
}

fn rate_cards(table: &mut Table) {
    table
        .rpc(GET_RATE_CARD, GetRateCardRequest { at: None })
        .refuses("at", no_moments(), |request, at| request.at = Some(at))
        .fails_with(NO_CARD, "at", [FIRST_MOMENT, Timestamp::default()], |request, at| request.at = Some(at))
        .accepts("at", [moment("2025-01-22T00:00:00Z"), LAST_MOMENT], |request, at| request.at = Some(at));
    let no_tokens = || no_ids().chain(["2025-01-23".to_owned(), "0".to_owned()]);
    table
        .rpc(LIST_RATE_CARDS, ListRateCardsRequest::default())
        .accepts("page_size", PAGE_SIZES, |request, size| request.page_size = size)
        .refuses("page_token", no_tokens(), |request, token| request.page_token = token)
        .accepts("page_token", ["", "2025-01-22"], |request, token| request.page_token = token.to_owned());
}

/// Almost valid page tokens of audit entries: a log, and a store's cursor.
const NO_AUDIT_TOKENS: [&str; 8] = ["|", "team|x", "team|-1", "team|+1", "team|01", "team|1-", "team|1|1", "{a}|1"];

fn audit_entries(table: &mut Table) {
    table
        .rpc(LIST_AUDIT_ENTRIES, ListAuditEntriesRequest { team_id: Some(TEAM.to_owned()), ..Default::default() })
        .id("team_id", |request, id| request.team_id = Some(id))
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = Some(id))
        .accepts("page_size", PAGE_SIZES, |request, size| request.page_size = size)
        .refuses("page_token", no_ids(), |request, token| request.page_token = token)
        .refuses("page_token", NO_AUDIT_TOKENS, |request, token| request.page_token = token.to_owned())
        .refuses("page_token", ["other|1", "other"], |request, token| request.page_token = token.to_owned())
        .accepts("page_token", ["", "team|", "team|1", "team"], |request, token| request.page_token = token.to_owned());
    table
        .also(LIST_AUDIT_ENTRIES, ListAuditEntriesRequest::default())
        .refuses("page_token", NO_AUDIT_TOKENS, |request, token| request.page_token = token.to_owned())
        .accepts("page_token", ["", "other|1", "other"], |request, token| request.page_token = token.to_owned());
}
