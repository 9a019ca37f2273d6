//! `tollgate check-config`: shows the settings, their sources, and the seed of the file. It opens no store and no listener.

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
    config::{self, Configuration, EffectiveSetting, Flags, Variables},
    domain::{id::Id, plan::IncludedCredits, rate_card::RateCard, seed::TeamSeed},
    exit_code::{self, CommandError},
    serve::Clients,
};

/// Options of `tollgate check-config`: those of `tollgate serve`, and the output format.
#[derive(Clone, Args)]
pub(super) struct CheckConfigArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Prints the configuration.
pub(super) fn run(arguments: &CheckConfigArguments, variables: &Variables) -> Result<(), CommandError> {
    let configuration = config::load(&arguments.flags, variables, Path::new(""))?;
    let output = if arguments.json {
        let report = ConfigurationJson::of(&configuration);
        serde_json::to_string_pretty(&report).map_err(|error| CommandError::new(exit_code::SOFTWARE, error))?
    } else {
        ConfigurationTables(&configuration).to_string()
    };
    // A reader that closed standard output does not want the rest. The exit code has the result.
    let _ = writeln!(std::io::stdout(), "{}", output.trim_end());
    Ok(())
}

/// The output for programs.
#[derive(Serialize)]
struct ConfigurationJson<'a> {
    file: Option<String>,
    settings: BTreeMap<&'static str, &'a EffectiveSetting>,
    clients: BTreeMap<&'a str, Vec<&'a str>>,
    seed: serde_json::Value,
}

impl<'a> ConfigurationJson<'a> {
    fn of(configuration: &'a Configuration) -> Self {
        let seed = &configuration.settings.serve.seed;
        Self {
            file: configuration.file.as_ref().map(|file| file.display().to_string()),
            settings: configuration.effective.iter().map(|setting| (setting.key, setting)).collect(),
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

/// Returns a client and the teams for which it may call, as they are written in the file.
fn teams_of<'a>((client, teams): (&'a str, Option<&'a BTreeSet<Id>>)) -> (&'a str, Vec<&'a str>) {
    (client, teams.map_or_else(|| vec!["*"], |teams| teams.iter().map(Id::as_str).collect()))
}

fn card_json(card: &RateCard) -> serde_json::Value {
    json!({ "version": card.version, "effective_at": time(card.effective_at_ms), "rates": card.rates })
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

/// The output for people.
struct ConfigurationTables<'a>(&'a Configuration);

impl fmt::Display for ConfigurationTables<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Configuration { settings, file, effective } = self.0;
        let mut table = table(&["setting", "value", "from"]);
        for EffectiveSetting { key, value, from } in effective {
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
                    "\nNo configuration file: a new store gets the built-in plans and rate card."
                );
            }
            Some(file) if *seed == Default::default() => {
                return writeln!(formatter, "\n{} has no plans, rate cards or teams for a new store.", file.display());
            }
            Some(file) => writeln!(formatter, "\nFrom {}, if the store does not have them:", file.display())?,
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
    let mut table = table(&["client", "teams"]);
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
        table.add_row([card.version.clone(), time(card.effective_at_ms), models.join(", ")]);
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
            terms.included_override.map_or_else(|| "of the plan".to_owned(), |credits| credits.to_string()),
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

fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| format!("{at_ms} ms"), |at| at.to_string())
}
