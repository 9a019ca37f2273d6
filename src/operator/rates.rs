//! `tollgate rates`: lists the rate cards, and announces new ones.

mod file;
mod render;

use std::{io::Read, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use self::{file::CardText, render::CardStatus};
use super::{
    EXIT_CODES,
    connection::{AdminArguments, AdminClient, CallError, PAGE_SIZE, for_each_row},
    error::Stop,
    list::JsonList,
    output::{OutputArguments, print, print_json},
};
use crate::{
    config::without_url,
    exit_code::{self, CommandError},
    proto::v1::{GetRateCardRequest, ListRateCardsRequest, PutRateCardRequest, RateCard},
};

/// Maximum size of a rate card file. A sidecar accepts much less.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The beginning of `rates put --help`.
const ABOUT_PUT: &str = "\
Announces a rate card. Repeating the command with the same card changes nothing.

A card must list every model, because it replaces the previous card as a whole. It can never be changed. A card that
raises a price must be announced in advance, by default 7 days. An example in TOML (JSON has the same keys):

  version = \"2027-01-01\"
  effective_at = 2027-01-01T00:00:00Z

  [[rates]]
  model = \"gpt-4o\"
  aliases = [\"gpt-4o-2024-08-06\"]        # optional
  unit = \"call\"                          # or \"image\"
  credits = 2
  credits_by_plan = { professional = 1 } # optional";

/// The subcommands of `tollgate rates`.
#[derive(Clone, Debug, Subcommand)]
pub enum RatesCommand {
    /// Lists all rate cards with their prices: past, in effect and announced.
    #[command(after_help = EXIT_CODES)]
    List(RatesListArguments),
    /// Announces a rate card. Repeating the command with the same card changes nothing.
    #[command(long_about = ABOUT_PUT, after_help = EXIT_CODES)]
    Put(RatesPutArguments),
}

/// Arguments of `tollgate rates list`.
#[derive(Args, Clone, Debug)]
pub struct RatesListArguments {
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// Arguments of `tollgate rates put`.
#[derive(Args, Clone, Debug)]
pub struct RatesPutArguments {
    /// File with the card, in TOML or JSON. - reads stdin
    pub file: PathBuf,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

pub(super) async fn run(command: RatesCommand) -> Result<(), Stop> {
    match command {
        RatesCommand::List(arguments) => list(arguments).await,
        RatesCommand::Put(arguments) => put(arguments).await,
    }
}

async fn list(arguments: RatesListArguments) -> Result<(), Stop> {
    let sidecar = arguments.admin.connect().await?;
    let in_effect = in_effect(&sidecar).await?;
    let mut json = arguments.output.json.then(|| JsonList::new("rate_cards"));
    let page = async |page_token| {
        let answer = sidecar.list_rate_cards(ListRateCardsRequest { page_size: PAGE_SIZE, page_token }).await?;
        Ok((answer.rate_cards, answer.next_page_token))
    };
    for_each_row(page, |card| match &mut json {
        Some(list) => list.add(&CardText::of(card)),
        None => print(&render::card(&card, CardStatus::of(&card, in_effect.as_ref()))),
    })
    .await?;
    match json {
        None => Ok(()),
        Some(list) => {
            let version = in_effect.map_or(Value::Null, |card| card.version.into());
            list.end(&Map::from_iter([("in_effect".to_owned(), version)]))
        }
    }
}

/// Returns the card that is in effect now, by the sidecar's clock.
async fn in_effect(sidecar: &AdminClient) -> Result<Option<RateCard>, Stop> {
    match sidecar.get_rate_card(GetRateCardRequest { at: None }).await {
        Ok(answer) => Ok(answer.rate_card),
        Err(CallError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn put(arguments: RatesPutArguments) -> Result<(), Stop> {
    let text = read(&arguments.file)?;
    let card = file::parse(&text)
        .map_err(|problem| CommandError::new(exit_code::DATA_ERROR, format!("not a rate card: {problem}")))?;
    let sidecar = arguments.admin.connect().await?;
    let answer = sidecar.put_rate_card(PutRateCardRequest { rate_card: Some(card) }).await?;
    let card = answer
        .rate_card
        .ok_or_else(|| CommandError::new(exit_code::SOFTWARE, "the sidecar answered without the rate card"))?;
    if arguments.output.json {
        return print_json(&CardText::of(card));
    }
    print(&render::card(&card, CardStatus::of(&card, in_effect(&sidecar).await?.as_ref())))
}

/// Reads a file, or stdin.
fn read(file: &PathBuf) -> Result<String, CommandError> {
    let failed = |code, problem: &str| CommandError::new(code, format!("{} {problem}", without_url(file)));
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file);
        Box::new(opened.map_err(|error| failed(exit_code::NO_INPUT, &format!("cannot be read: {error}")))?)
    };
    let mut bytes = Vec::new();
    let length = input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    match length {
        Err(error) => Err(failed(exit_code::NO_INPUT, &format!("cannot be read: {error}"))),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(failed(exit_code::DATA_ERROR, "is too large for a rate card"))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|_| failed(exit_code::DATA_ERROR, "is not UTF-8 text")),
    }
}
