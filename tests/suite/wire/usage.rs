//! UsageService's requests.

use tollgate::proto::v1::{GetUsageRequest, ListChargesRequest};
use tonic::Code;

use super::{
    super::stories::stage::{TEAM, moment},
    table::{FIRST_MOMENT, LAST_MOMENT, PAGE_SIZES, Table, ids, no_ids, no_moments},
};

const GET_USAGE: &str = "/tollgate.v1.UsageService/GetUsage";
const LIST_CHARGES: &str = "/tollgate.v1.UsageService/ListCharges";

const NO_TEAM: (Code, &str) = (Code::NotFound, "TEAM_NOT_FOUND");

/// Almost valid page tokens of usage: a row's day, flow, model and trigger.
const NO_USAGE_TOKENS: [&str; 8] = [
    ",,,",
    "2025-06-10,flow,gpt-4",
    "2025-06-10,flow,gpt-4,RUN",
    "2025-06-10,flow,gpt-4,run,",
    "2025-06-10,flow,gpt 4,run",
    "2025-6-10,flow,gpt-4,run",
    "2025-06-31,flow,gpt-4,run",
    "{a},flow,gpt-4,run",
];

/// Almost valid page tokens of charges: a team, a cycle's start, a block and a store's cursor.
const NO_CHARGES_TOKENS: [&str; 18] = [
    "|||",
    "team",
    "team|1748736000000|0",
    "team|1748736000000|0|-",
    "team|1748736000000|0|x",
    "team|1748736000000|0|1-",
    "team|1748736000000|0|1-2-3",
    "team|1748736000000|0|18446744073709551615",
    "team|1748736000000|0|18446744073709551616-0",
    "team|1748736000000|0|00",
    "team|1748736000000|-1|",
    "team|1748736000000|4294967296|",
    "team|+1748736000000|0|",
    "team|1748736000001|0|",
    "team|99999999999999999999|0|",
    "team||0|1",
    "team||1|",
    "{a}||0|",
];

/// Adds the rows of this service.
pub(super) fn rows(table: &mut Table) {
    let team_id = TEAM.to_owned();
    table
        .rpc(GET_USAGE, GetUsageRequest { team_id: team_id.clone(), ..GetUsageRequest::default() })
        .id("team_id", |request, id| request.team_id = id)
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = id)
        .refuses("cycle_start", no_moments(), |request, at| request.cycle_start = Some(at))
        .refuses("cycle_start", [moment("2025-07-01T00:00:00Z"), LAST_MOMENT], |request, at| {
            request.cycle_start = Some(at)
        })
        .refuses("cycle_start", [moment("2025-05-31T23:59:59.999Z"), FIRST_MOMENT], |request, at| {
            request.cycle_start = Some(at);
        })
        .accepts("cycle_start", ["2025-06-01T00:00:00Z", "2025-06-30T23:59:59.999999999Z"], |request, at| {
            request.cycle_start = Some(moment(at));
        })
        .accepts("page_size", PAGE_SIZES, |request, size| request.page_size = size)
        .refuses("page_token", no_ids(), |request, token| request.page_token = token)
        .refuses("page_token", NO_USAGE_TOKENS, |request, token| request.page_token = token.to_owned())
        .accepts("page_token", ["", "2025-06-10,flow,gpt-4,run", "9999-12-31,z,z,test"], |request, token| {
            request.page_token = token.to_owned();
        });
    table
        .rpc(LIST_CHARGES, ListChargesRequest { team_id: Some(team_id), ..ListChargesRequest::default() })
        .id("team_id", |request, id| request.team_id = Some(id))
        .fails_with(NO_TEAM, "team_id", ids(), |request, id| request.team_id = Some(id))
        .refuses("cycle_start", no_moments(), |request, at| request.cycle_start = Some(at))
        .accepts("cycle_start", [FIRST_MOMENT, moment("2025-06-30T23:59:59.999Z"), LAST_MOMENT], |request, at| {
            request.cycle_start = Some(at);
        })
        .accepts("page_size", PAGE_SIZES, |request, size| request.page_size = size)
        .refuses("page_token", no_ids(), |request, token| request.page_token = token)
        .refuses("page_token", NO_CHARGES_TOKENS, |request, token| request.page_token = token.to_owned())
        .refuses("page_token", ["other||0|"], |request, token| request.page_token = token.to_owned())
        .accepts(
            "page_token",
            ["", "team||0|", "team|1748736000000|1|", "team|1748736000000|1|1"],
            |request, token| {
                request.page_token = token.to_owned();
            },
        );
    table
        .also(LIST_CHARGES, ListChargesRequest::default())
        .refuses("page_token", NO_CHARGES_TOKENS, |request, token| request.page_token = token.to_owned())
        .accepts("page_token", ["", "team||0|", "other||0|"], |request, token| request.page_token = token.to_owned());
}
