//! `tollgate check-config`: which settings would apply, where each is from, and what the file seeds. It touches no store and
//! listens nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Write,
    path::Path,
};

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::{
    config::{self, Configuration, Flags, Shown, Variables},
    domain::{id::Id, plan::IncludedCredits, rate_card::RateCard, seed::TeamSeed},
    exit_code::{self, CommandError},
    serve::Clients,
};

/// Options of `tollgate check-config`: those of `tollgate serve`, and how to answer.
#[derive(Clone, Args)]
pub(super) struct CheckConfigArguments {
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Says what would apply.
pub(super) fn run(arguments: &CheckConfigArguments, variables: &Variables) -> Result<(), CommandError> {
    let configuration = config::load(&arguments.flags, variables, Path::new(""))?;
    let answer = if arguments.json {
        let report = Report::of(&configuration);
        serde_json::to_string_pretty(&report).map_err(|error| CommandError::new(exit_code::SOFTWARE, error))?
    } else {
        Readable(&configuration).to_string()
    };
    // Whoever closed standard output does not want to read this; the exit code has told them.
    let _ = writeln!(std::io::stdout(), "{}", answer.trim_end());
    Ok(())
}

#[derive(Serialize)]
struct Report<'a> {
    file: Option<String>,
    settings: BTreeMap<&'static str, &'a Shown>,
    clients: BTreeMap<&'a str, Vec<&'a str>>,
    seed: serde_json::Value,
}

impl<'a> Report<'a> {
    fn of(configuration: &'a Configuration) -> Self {
        let seed = &configuration.settings.serve.seed;
        Self {
            file: configuration.file.as_ref().map(|file| file.display().to_string()),
            settings: configuration.shown.iter().map(|shown| (shown.key, shown)).collect(),
            clients: clients(configuration).into_iter().flat_map(Clients::iter).map(teams_of).collect(),
            seed: json!({
                "plans": seed.included_credits,
                "rate_cards": seed.rate_cards.iter().map(card_json).collect::<Vec<_>>(),
                "teams": seed.teams.iter().map(team_json).collect::<Vec<_>>(),
            }),
        }
    }
}

fn clients(configuration: &Configuration) -> Option<&Clients> {
    configuration.settings.serve.access.clients.as_ref()
}

/// The teams that a client may ask for, as they are written.
fn teams_of<'a>((client, teams): (&'a str, Option<&'a BTreeSet<Id>>)) -> (&'a str, Vec<&'a str>) {
    (client, teams.map_or_else(|| vec!["*"], |teams| teams.iter().map(Id::as_str).collect()))
}

fn card_json(card: &RateCard) -> serde_json::Value {
    json!({ "version": card.version, "effective_at": moment(card.effective_at_ms), "rates": card.rates })
}

fn team_json(TeamSeed { team, terms }: &TeamSeed) -> serde_json::Value {
    json!({
        "team_id": team.as_str(),
        "plan": terms.plan,
        "paid_seat": terms.paid_seat,
        "billing_anchor_day": terms.anchor.day,
        "included_credits": terms.included_override,
        "overages_enabled": terms.overages_enabled,
        "overage_cap_blocks": terms.overage_cap_blocks,
    })
}

/// The same for people.
struct Readable<'a>(&'a Configuration);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Configuration { settings, file, shown } = self.0;
        let mut table = table(&["setting", "value", "from"]);
        for Shown { key, value, from } in shown {
            table.add_row([key, value.as_str(), from]);
        }
        writeln!(formatter, "{table}")?;
        if let Some(clients) = clients(self.0) {
            writeln!(formatter, "\n{}", clients_table(clients))?;
        }
        let seed = &settings.serve.seed;
        match file {
            None => {
                return writeln!(
                    formatter,
                    "\nThere is no file; nothing is seeded but the plans and prices that ship."
                );
            }
            Some(file) if *seed == Default::default() => {
                return writeln!(formatter, "\n{} has no plans, rate cards or teams to seed.", file.display());
            }
            Some(file) => writeln!(formatter, "\nWhere the store has none, {} gives it:", file.display())?,
        }
        if let Some(plans) = &seed.included_credits {
            writeln!(formatter, "\n{}", plans_table(plans))?;
        }
        if !seed.rate_cards.is_empty() {
            writeln!(formatter, "\n{}", cards_table(&seed.rate_cards))?;
        }
        if !seed.teams.is_empty() {
            writeln!(formatter, "\n{}", teams_table(&seed.teams))?;
        }
        Ok(())
    }
}

fn clients_table(clients: &Clients) -> Table {
    let mut table = table(&["client", "may ask for"]);
    for (client, teams) in clients.iter().map(teams_of) {
        table.add_row([client, &teams.join(", ")]);
    }
    table
}

fn plans_table(plans: &IncludedCredits) -> Table {
    let IncludedCredits { without_seat, free, basic, professional } = plans;
    let mut table = table(&["included credits", "without a seat", "free", "basic", "professional"]);
    let credits = [without_seat, free, basic, professional].map(ToString::to_string);
    table.add_row(std::iter::once("per cycle".to_owned()).chain(credits));
    table
}

fn cards_table(cards: &[RateCard]) -> Table {
    let mut table = table(&["rate card", "effective at", "models"]);
    for card in cards {
        let models: Vec<_> = card.rates.iter().map(|rate| rate.model.as_str()).collect();
        table.add_row([card.version.clone(), moment(card.effective_at_ms), models.join(", ")]);
    }
    table
}

fn teams_table(teams: &[TeamSeed]) -> Table {
    let mut table = table(&["team", "plan", "paid seat", "anchor day", "included credits", "overages"]);
    for TeamSeed { team, terms } in teams {
        let overages = match (terms.overages_enabled, terms.overage_cap_blocks) {
            (false, _) => "off".to_owned(),
            (true, None) => "on".to_owned(),
            (true, Some(blocks)) => format!("on, at most {blocks} blocks"),
        };
        table.add_row([
            team.to_string(),
            terms.plan.name().to_owned(),
            if terms.paid_seat { "yes" } else { "no" }.to_owned(),
            terms.anchor.day.to_string(),
            terms.included_override.map_or_else(|| "as the plan".to_owned(), |credits| credits.to_string()),
            overages,
        ]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn moment(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| format!("{at_ms} ms"), |at| at.to_string())
}
