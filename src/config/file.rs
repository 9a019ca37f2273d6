//! Finds, reads and parses the configuration file.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use super::{
    clients,
    document::{self, DocumentFormat, NodeValue},
    flags::Flags,
    layers::{Assignment, Layer},
    problem::{ConfigError, Problems},
    seed,
    setting::SETTINGS,
    table_reader::TableReader,
    variables::{CONFIG_VARIABLE, Variables},
};
use crate::{domain::seed::Seed, serve::Clients};

/// File that is read if no other is named.
pub(super) const DEFAULT_FILE: &str = "tollgate.toml";

/// Largest file that is read, in bytes. It has room for about ten thousand teams.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Contents of a configuration file.
#[derive(Debug, Default)]
pub struct FileContents {
    pub(super) layer: Layer,
    /// Plans, rate cards and teams for a store that does not have them.
    pub seed: Seed,
    /// Teams for which each client may call. `None` if the file has no `[clients]`.
    pub clients: Option<Clients>,
}

/// Parses the text of a `tollgate.toml`. It reads no file, variable or flag.
///
/// # Errors
/// [`ConfigError::Invalid`], with all problems and their lines.
pub fn parse(text: &str) -> Result<FileContents, ConfigError> {
    let (contents, problems) = parse_named(text, DEFAULT_FILE)?;
    problems.into_result(contents)
}

/// Returns a file's name for a message. A URL given by mistake may hold a password, so it is not shown.
pub fn without_url(name: &Path) -> String {
    let name = name.display().to_string();
    if name.contains("://") { "(a URL)".to_owned() } else { name }
}

/// Returns the path of the file that the flags or variables name, or else of the default file, which may be absent.
pub fn file_path(flags: &Flags, variables: &Variables) -> PathBuf {
    named(flags, variables).map_or_else(|| PathBuf::from(DEFAULT_FILE), |(path, _)| path)
}

/// Returns the path that the flags or variables name, and the name of the flag or variable.
fn named(flags: &Flags, variables: &Variables) -> Option<(PathBuf, &'static str)> {
    let from_variable = || variables.config().map(|name| (PathBuf::from(name), CONFIG_VARIABLE));
    flags.config.clone().map(|name| (name, "--config")).or_else(from_variable)
}

/// Reads the file that the flags or variables name, or else the default file. Relative paths start at `directory`.
///
/// Returns `None` if no file is named and the default file is absent. Problems of single keys are returned beside the contents,
/// for callers that need only some of the keys.
pub(super) fn read(
    flags: &Flags,
    variables: &Variables,
    directory: &Path,
) -> Result<Option<(PathBuf, FileContents, Problems)>, ConfigError> {
    let (named, path) = (named(flags, variables), file_path(flags, variables));
    let unreadable = |cause: &str| {
        let source = named.as_ref().map_or_else(String::new, |(_, source)| format!(" (named by {source})"));
        ConfigError::Unreadable(format!("cannot read {}{source}: {cause}", without_url(&path)))
    };
    let mut bytes = Vec::new();
    let read = File::open(directory.join(&path)).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return Err(unreadable(&error.to_string())),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => return Err(unreadable("it is larger than 4 MiB")),
        Ok(_) => {}
    }
    let name = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        let mut problems = Problems::of(&name);
        problems.add("", None, "must be valid UTF-8");
        problems.error()
    })?;
    parse_named(&text, &name).map(|(contents, problems)| Some((path, contents, problems)))
}

fn parse_named(text: &str, name: &str) -> Result<(FileContents, Problems), ConfigError> {
    let document = document::parse(text, DocumentFormat::Toml, name)?;
    let mut problems = Problems::of(name);
    let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).chain(seed::KEYS).chain([clients::KEY]).collect();
    let Some(root) = TableReader::open("", &document, &known, &mut problems) else { return Err(problems.error()) };
    let mut layer = Layer::default();
    for setting in SETTINGS {
        let Some(node) = root.get(setting.key) else { continue };
        let text = match &node.value {
            NodeValue::Text(text) => text.clone(),
            NodeValue::Number(number) => number.to_string(),
            NodeValue::Switch(on) => on.to_string(),
            other => {
                problems.add(
                    setting.key,
                    node.line,
                    format!("must not be {}; use {}", other.type_name(), setting.values()),
                );
                continue;
            }
        };
        layer.0.push(Assignment { setting, text, origin: problems.origin(node.line) });
    }
    layer.check(&mut problems);
    let seed = seed::read(&root, &mut problems);
    let clients = root.get(clients::KEY).map(|node| clients::read(node, &mut problems));
    Ok((FileContents { layer, seed, clients }, problems))
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
        let found: Vec<_> = contents.layer.0.iter().map(|found| (found.text.as_str(), found.origin.as_str())).collect();
        assert_eq!(
            found,
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
    fn a_client_may_call_for_some_teams_or_for_all() {
        let text = "[clients]\n\"spiffe://acme/executor\" = [\"acme\", \"small\"]\nbilling = [\"small\", \"*\"]";
        let clients = parse(text).unwrap().clients.unwrap();
        let found: Vec<_> = clients.iter().map(|(client, teams)| (client, teams.map(|teams| teams.len()))).collect();
        assert_eq!(found, [("billing", None), ("spiffe://acme/executor", Some(2))]);
    }

    #[test]
    fn a_problem_names_its_path_and_line() {
        let team = "[[teams]]\nteam_id = \"a\"\nplan = \"free\"\n";
        let card = "[[rate_cards]]\nversion = \"1\"\neffective_at = 2026-01-01T00:00:00Z\nrates = [{model = \"m\", unit = \"call\", credits = 1}]\n";
        for (text, expected) in [
            ("lisen = 1".to_owned(), "lisen (tollgate.toml, line 1): unknown key; did you mean listen?"),
            (
                "[plans]\nmax_calls = 1".to_owned(),
                "plans.max_calls (tollgate.toml, line 2): unknown key; max_calls is a setting: move it above",
            ),
            ("[plans]\nfre = 1".to_owned(), "plans.fre (tollgate.toml, line 2): unknown key; did you mean free?"),
            ("[limits]\nmax_calls = 1".to_owned(), "limits (tollgate.toml, line 1): unknown key"),
            ("max_calls = 0".to_owned(), "max_calls (tollgate.toml, line 1): invalid value `0`: must be 1 to 1000000"),
            ("store_wait = 250".to_owned(), "such as `250s` or `250ms`"),
            ("store_wait = 0.25".to_owned(), "must not be a number with a fraction"),
            ("teams = 1".to_owned(), "teams (tollgate.toml, line 1): must be a list of tables"),
            ("teams = [1]".to_owned(), "teams[0] (tollgate.toml, line 1): must be a table"),
            (
                format!("{team}[[teams]]\nteam_id = \"b\"\nplan = \"gold\""),
                "teams[1].plan (tollgate.toml, line 6): unknown plan `gold`; the plans are free, basic, professional",
            ),
            (format!("{team}seat = true"), "teams[0].seat (tollgate.toml, line 4): unknown key"),
            (format!("{team}{team}"), "teams[1].team_id (tollgate.toml, line 4): is already used by teams[0]"),
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
            (team.replace("\"a\"", "\"a b\""), "teams[0].team_id (tollgate.toml, line 2): must contain only"),
            (team.replace("plan = \"free\"\n", ""), "teams[0].plan (tollgate.toml, line 1): is missing"),
            (
                format!("{card}{card}"),
                "rate_cards[1].version (tollgate.toml, line 5): is already used by rate_cards[0]",
            ),
            (
                format!("{card}{card}"),
                "rate_cards[1].effective_at (tollgate.toml, line 5): is already used by rate_cards[0]",
            ),
            ("clients = 1".to_owned(), "clients (tollgate.toml, line 1): must be a table"),
            ("[clients]".to_owned(), "clients (tollgate.toml, line 1): has no clients"),
            ("[clients]\na = []".to_owned(), "clients.a (tollgate.toml, line 2): has no teams; \"*\" means all"),
            ("[clients]\na = \"b\"".to_owned(), "clients.a (tollgate.toml, line 2): must be a list, not a string"),
            (
                "[clients]\na = [\"b c\"]".to_owned(),
                "clients.a (tollgate.toml, line 2): has a team id that must contain only",
            ),
            (card.replace("credits", "credit"), "rate_cards[0].rates[0].credit (tollgate.toml, line 4): unknown key"),
        ] {
            let found = problems(&text);
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    #[test]
    fn all_problems_of_a_file_are_reported_at_once() {
        let found = problems("listen = \"nowhere\"\nlisen = 1\nmax_calls = 0\n[[teams]]\nteam_id = 5\n");
        assert!(found.starts_with("5 problems:"), "{found}");
    }

    #[test]
    fn the_store_is_never_quoted() {
        for value in ["redis://:secret@h:port", "postgres://u:secret@h", "rediss://u:12/secret@h", "secret"] {
            let found = problems(&format!("store = \"{value}\"\nlog_format = \"redis://secret@h\""));
            assert!(found.contains("store (tollgate.toml, line 1)") && !found.contains("secret"), "{found}");
        }
        let contents = parse("store = \"redis://:secret@h\"").unwrap();
        assert!(!format!("{contents:?}").contains("secret"));
    }
}
