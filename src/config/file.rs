//! The file's layer: where it is, reading it, and what it says.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use super::{
    clients,
    document::{self, Content, Format},
    fields::Fields,
    flags::Flags,
    layers::{Given, Layer},
    problem::{ConfigError, Problems},
    seed,
    setting::SETTINGS,
    variables::{CONFIG_VARIABLE, Variables},
};
use crate::{domain::seed::Seed, serve::Clients};

/// The file that is read if none is named.
pub(super) const DEFAULT_FILE: &str = "tollgate.toml";

/// The largest file that is read, in bytes: some ten thousand teams.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What a file says.
#[derive(Debug, Default)]
pub struct Contents {
    pub(super) layer: Layer,
    /// What it gives a store that lacks it.
    pub seed: Seed,
    /// For which teams each client may ask, if it says so.
    pub clients: Option<Clients>,
}

/// Reads a text as it may stand in `tollgate.toml`. It looks at nothing but the text.
///
/// # Errors
/// [`ConfigError::Invalid`], with everything that is wrong and the lines it is on.
pub fn parse(text: &str) -> Result<Contents, ConfigError> {
    let (contents, problems) = parse_named(text, DEFAULT_FILE)?;
    problems.none_or(contents)
}

/// A file's name as it may be shown: a URL in its place may hold a password.
pub fn without_url(name: &Path) -> String {
    let shown = name.display().to_string();
    if shown.contains("://") { "(a URL)".to_owned() } else { shown }
}

/// The file that the flags or the variables name, or the one that is read if none is; it need not be there.
pub fn file_to_read(flags: &Flags, variables: &Variables) -> PathBuf {
    named(flags, variables).map_or_else(|| PathBuf::from(DEFAULT_FILE), |(path, _)| path)
}

/// The file that somebody names, and by what.
fn named(flags: &Flags, variables: &Variables) -> Option<(PathBuf, &'static str)> {
    let named_by_variable = || variables.config().map(|name| (PathBuf::from(name), CONFIG_VARIABLE));
    flags.config.clone().map(|name| (name, "--config")).or_else(named_by_variable)
}

/// Reads the file that the flags or the variables name, or the one that is read if none is; none if there is no such one.
/// Relative paths start at `directory`. What is wrong with single keys is told apart, for whoever needs but one of them.
pub(super) fn read(
    flags: &Flags,
    variables: &Variables,
    directory: &Path,
) -> Result<Option<(PathBuf, Contents, Problems)>, ConfigError> {
    let (named, path) = (named(flags, variables), file_to_read(flags, variables));
    let unreadable = |cause: &str| {
        let by = named.as_ref().map_or_else(String::new, |(_, by)| format!(", which {by} names,"));
        ConfigError::Unreadable(format!("the file {}{by} cannot be read: {cause}", without_url(&path)))
    };
    let mut bytes = Vec::new();
    let read = File::open(directory.join(&path)).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return Err(unreadable(&error.to_string())),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => return Err(unreadable("it has more than 4 MiB")),
        Ok(_) => {}
    }
    let name = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        let mut problems = Problems::of(&name);
        problems.add("", None, "this is not text in UTF-8");
        problems.error()
    })?;
    parse_named(&text, &name).map(|(contents, problems)| Some((path, contents, problems)))
}

fn parse_named(text: &str, name: &str) -> Result<(Contents, Problems), ConfigError> {
    let root = document::parse(text, Format::Toml, name)?;
    let mut problems = Problems::of(name);
    let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).chain(seed::KEYS).chain([clients::KEY]).collect();
    let Some(fields) = Fields::open("", &root, &known, &mut problems) else { return Err(problems.error()) };
    let mut layer = Layer::default();
    for setting in SETTINGS {
        let Some(node) = fields.get(setting.key) else { continue };
        let text = match &node.content {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            Content::Switch(on) => on.to_string(),
            other => {
                problems.add(
                    setting.key,
                    node.line,
                    format!("must not be {}; write {}", other.name(), setting.values()),
                );
                continue;
            }
        };
        layer.0.push(Given { setting, text, origin: problems.place(node.line) });
    }
    layer.check(&mut problems);
    let seed = seed::read(&fields, &mut problems);
    let clients = fields.get(clients::KEY).map(|node| clients::read(node, &mut problems));
    Ok((Contents { layer, seed, clients }, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_has_settings_plans_cards_and_teams() {
        let contents = parse(
            r#"
            listen = "unix:/run/tollgate.sock"
            max_calls = 100
            require_aof = true
            [plans]
            free = 7
            [[rate_cards]]
            version = "v2"
            effective_at = "2026-03-01T00:00:00Z"
            rates = [{ model = "gpt-5", unit = "call", credits = 3 }]
            [[teams]]
            team_id = "acme"
            plan = "professional"
            paid_seat = true
            overages_enabled = true
            overage_cap_blocks = 4
            [[teams]]
            team_id = "small"
            plan = "free"
            billing_anchor_day = 31
            included_credits = 9
            "#,
        )
        .unwrap();
        let said: Vec<_> = contents.layer.0.iter().map(|given| (given.text.as_str(), given.origin.as_str())).collect();
        assert_eq!(
            said,
            [
                ("unix:/run/tollgate.sock", "tollgate.toml, line 2"),
                ("true", "tollgate.toml, line 4"),
                ("100", "tollgate.toml, line 3")
            ]
        );
        let seed = contents.seed;
        assert_eq!(seed.included_credits.map(|plans| (plans.free, plans.basic)), Some((7, 25_000)));
        assert_eq!(seed.rate_cards[0].rate("gpt-5").map(|rate| rate.credits), Some(3));
        let [acme, small] = &seed.teams[..] else { panic!("two teams") };
        assert_eq!((acme.terms.overages_enabled, acme.terms.overage_cap_blocks), (true, Some(4)));
        assert_eq!(
            (small.terms.anchor.day, small.terms.included_override, small.terms.paid_seat),
            (31, Some(9), false)
        );
        assert_eq!(parse("").unwrap().seed, Seed::default());
        assert_eq!(parse("").unwrap().clients, None);
    }

    #[test]
    fn clients_have_teams_or_all_of_them() {
        let text = "[clients]\n\"spiffe://acme/executor\" = [\"acme\", \"small\"]\nbilling = [\"small\", \"*\"]";
        let clients = parse(text).unwrap().clients.unwrap();
        let said: Vec<_> = clients.iter().map(|(client, teams)| (client, teams.map(|teams| teams.len()))).collect();
        assert_eq!(said, [("billing", None), ("spiffe://acme/executor", Some(2))]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path_and_line() {
        let team = "[[teams]]\nteam_id = \"a\"\nplan = \"free\"\n";
        let card = "[[rate_cards]]\nversion = \"1\"\neffective_at = 2026-01-01T00:00:00Z\nrates = [{model = \"m\", unit = \"call\", credits = 1}]\n";
        for (text, says) in [
            ("lisen = 1".to_owned(), "lisen (tollgate.toml, line 1): there is no such key; did you mean listen?"),
            (
                "[plans]\nmax_calls = 1".to_owned(),
                "plans.max_calls (tollgate.toml, line 2): there is no such key; max_calls is a setting: put it above",
            ),
            (
                "[plans]\nfre = 1".to_owned(),
                "plans.fre (tollgate.toml, line 2): there is no such key; did you mean free?",
            ),
            ("[limits]\nmax_calls = 1".to_owned(), "limits (tollgate.toml, line 1): there is no such key"),
            ("max_calls = 0".to_owned(), "max_calls (tollgate.toml, line 1): `0` is refused: must be 1 to 1000000"),
            ("store_wait = 250".to_owned(), "as in `250s` or `250ms`"),
            ("store_wait = 0.25".to_owned(), "must not be a number with a fraction"),
            ("teams = 1".to_owned(), "teams (tollgate.toml, line 1): must be a list of tables"),
            ("teams = [1]".to_owned(), "teams[0] (tollgate.toml, line 1): must be a table"),
            (
                format!("{team}[[teams]]\nteam_id = \"b\"\nplan = \"gold\""),
                "teams[1].plan (tollgate.toml, line 6): `gold` is no plan; the plans are free, basic, professional",
            ),
            (format!("{team}seat = true"), "teams[0].seat (tollgate.toml, line 4): there is no such key"),
            (format!("{team}{team}"), "teams[1].team_id (tollgate.toml, line 4): is that of teams[0] too"),
            (
                format!("{team}overages_enabled = true"),
                "teams[0].overages_enabled (tollgate.toml, line 4): overages need the professional plan",
            ),
            (
                format!("{team}overage_cap_blocks = 1"),
                "teams[0].overage_cap_blocks (tollgate.toml, line 4): overages need",
            ),
            (
                format!("{team}billing_anchor_day = 32"),
                "teams[0].billing_anchor_day (tollgate.toml, line 4): must be 1 to 31",
            ),
            (team.replace("\"a\"", "\"a b\""), "teams[0].team_id (tollgate.toml, line 2): may only have"),
            (team.replace("plan = \"free\"\n", ""), "teams[0].plan (tollgate.toml, line 1): is missing"),
            (format!("{card}{card}"), "rate_cards[1].version (tollgate.toml, line 5): is that of rate_cards[0] too"),
            (
                format!("{card}{card}"),
                "rate_cards[1].effective_at (tollgate.toml, line 5): is that of rate_cards[0] too",
            ),
            ("clients = 1".to_owned(), "clients (tollgate.toml, line 1): must be a table"),
            ("[clients]".to_owned(), "clients (tollgate.toml, line 1): names no client"),
            ("[clients]\na = []".to_owned(), "clients.a (tollgate.toml, line 2): names no team; \"*\" is all"),
            ("[clients]\na = \"b\"".to_owned(), "clients.a (tollgate.toml, line 2): must be a list, and is a text"),
            ("[clients]\na = [\"b c\"]".to_owned(), "clients.a (tollgate.toml, line 2): has a team that may only have"),
            (
                card.replace("credits", "credit"),
                "rate_cards[0].rates[0].credit (tollgate.toml, line 4): there is no such key",
            ),
        ] {
            let found = problems(&text);
            assert!(found.contains(says), "{text}: {found}");
        }
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let found = problems("listen = \"nowhere\"\nlisen = 1\nmax_calls = 0\n[[teams]]\nteam_id = 5\n");
        assert!(found.starts_with("5 problems:"), "{found}");
    }

    #[test]
    fn the_store_is_never_repeated() {
        for value in ["redis://:secret@h:port", "postgres://u:secret@h", "rediss://u:12/secret@h", "secret"] {
            let found = problems(&format!("store = \"{value}\"\nlog_format = \"redis://secret@h\""));
            assert!(found.contains("store (tollgate.toml, line 1)") && !found.contains("secret"), "{found}");
        }
        let contents = parse("store = \"redis://:secret@h\"").unwrap();
        assert!(!format!("{contents:?}").contains("secret"));
    }
}
