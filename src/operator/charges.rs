//! `tollgate charges`: lists the charged overage blocks, which are to be invoiced.

use clap::Args;
use serde::Serialize;
use serde_json::Map;

use super::{
    connection::{AdminArguments, PAGE_SIZE, for_each_row},
    error::Stop,
    list::List,
    output::{Column, OutputArguments, format_count, format_number},
    timestamp::{self, ProtoTimestamp, display, rfc3339},
};
use crate::proto::v1::{Charge, ListChargesRequest};

const COLUMNS: [Column; 6] = [
    Column::Text("team"),
    Column::Text("charge"),
    Column::Text("cycle from"),
    Column::Number("block"),
    Column::Number("credits"),
    Column::Text("charged (UTC)"),
];

/// Arguments of `tollgate charges`.
#[derive(Args, Clone, Debug)]
pub struct ChargesArguments {
    /// Id of the team. Without it, the charges of all teams
    pub team: Option<String>,
    /// Only the billing cycle at this date or time in UTC. Without it, all cycles in the store
    #[arg(long, value_name = "DATE", value_parser = timestamp::parse)]
    pub cycle: Option<ProtoTimestamp>,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// A charge in JSON. The field names are those of the gRPC contract.
#[derive(Serialize)]
struct ChargeJson<'a> {
    team_id: &'a str,
    charge_id: &'a str,
    cycle_start: String,
    block: u32,
    credits: i64,
    charged_at: String,
}

pub(super) async fn run(arguments: ChargesArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let mut list = List::new(arguments.output, "charges", &COLUMNS);
    let (mut blocks, mut credits) = (0_i64, 0_i64);
    let page = async |page_token| {
        let request = ListChargesRequest {
            team_id: arguments.team.clone(),
            cycle_start: arguments.cycle,
            page_size: PAGE_SIZE,
            page_token,
        };
        let answer = sidecar.list_charges(request).await?;
        Ok((answer.charges, answer.next_page_token))
    };
    for_each_row(page, |charge| {
        blocks += 1;
        credits += charge.credits;
        list.add(&json(&charge), || cells(&charge))
    })
    .await?;
    let total = format!("{}, {} credits", format_count(blocks, "block", "blocks"), format_number(credits));
    let fields = [("total_blocks".to_owned(), blocks.into()), ("total_credits".to_owned(), credits.into())];
    list.end(&total, &Map::from_iter(fields))
}

fn json(charge: &Charge) -> ChargeJson<'_> {
    ChargeJson {
        team_id: &charge.team_id,
        charge_id: &charge.charge_id,
        cycle_start: rfc3339(charge.cycle_start),
        block: charge.block,
        credits: charge.credits,
        charged_at: rfc3339(charge.charged_at),
    }
}

fn cells(charge: &Charge) -> Vec<String> {
    vec![
        charge.team_id.clone(),
        charge.charge_id.clone(),
        display(charge.cycle_start),
        format_number(charge.block.into()),
        format_number(charge.credits),
        display(charge.charged_at),
    ]
}
