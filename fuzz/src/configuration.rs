//! Configuration: any text is read and shown as it was meant, or refused. No output contains a password.

use std::fmt::{Debug, Display};

use tollgate::{
    address::ListenAddress,
    config::{self, DocumentFormat, rate_card},
    store::StoreLocation,
};

/// Stands for a password in an input.
const SECRET: &str = "S3CR3T";

/// All readers of text that an operator writes.
const READERS: [fn(&str); 4] = [address, location, file, card];

/// Checks one input.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for read in READERS {
        read(text);
    }
}

fn address(text: &str) {
    if let Ok(address) = shown(text, text.parse::<ListenAddress>()) {
        assert_eq!(address.to_string().parse(), Ok(address.clone()), "{text:?}");
        shown(text, address.as_seen_from_here().to_string().parse::<ListenAddress>()).unwrap();
    }
}

fn location(text: &str) {
    match shown(text, text.parse::<StoreLocation>()) {
        Ok(location @ (StoreLocation::Memory | StoreLocation::Embedded(_))) => assert_eq!(location.to_string(), text),
        Ok(StoreLocation::Redis(url)) => assert_eq!(url, text),
        Err(_) => {}
    }
}

/// Checks the text of a file. Its store may contain a password.
fn file(text: &str) {
    let output = match config::parse(text) {
        Ok(contents) => format!("{contents:?}"),
        Err(refused) => format!("{refused} {refused:?}"),
    };
    let mut stores = text.lines().filter_map(|line| line.strip_prefix("store = \"")?.strip_suffix('"'));
    let may_show = text.matches(SECRET).count() != 1 || !stores.any(has_password);
    assert!(may_show || !output.contains(SECRET), "{text:?} is shown as {output}");
}

/// Checks that each card which is accepted is valid.
fn card(text: &str) {
    for format in [DocumentFormat::Toml, DocumentFormat::Json] {
        if let Ok(card) = rate_card::parse(text, format) {
            card.validate().unwrap();
        }
    }
}

/// Checks that neither a value nor an error shows a password.
fn shown<T: Display + Debug, E: Display + Debug>(text: &str, result: Result<T, E>) -> Result<T, E> {
    let output = match &result {
        Ok(understood) => format!("{understood} {understood:?}"),
        Err(refused) => format!("{refused} {refused:?}"),
    };
    assert!(!(has_password(text) && output.contains(SECRET)), "{text:?} is shown as {output}");
    result
}

/// Returns whether the secret is where a Redis URL has its password: before an `@`, or in the query.
fn has_password(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    // If it occurs twice, one of them may be the name of a host.
    if text.matches(SECRET).count() != 1 {
        return false;
    }
    let secret = |part: &str| part.contains(SECRET);
    let user = rest.rsplit_once('@').filter(|_| scheme != "redis+unix").is_some_and(|(user, _)| secret(user));
    ["redis", "rediss", "redis+unix"].contains(&scheme)
        && (user || rest.split_once('?').is_some_and(|(_, query)| secret(query)))
}

/// Returns the seeds.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "127.0.0.1:50051",
        "[::1]:0",
        "[::]:65535",
        "localhost:1",
        "unix:/run/tollgate.sock",
        "memory",
        "embedded:/var/lib/tollgate",
        "redis://h",
        "redis://user:S3CR3T@h:6379/3",
        "redis://:S3CR3T@[::1]:6379/3?protocol=resp3",
        "rediss://user:12/S3CR3T@h/0#insecure",
        "redis://user:1@S3CR3T@h:port",
        "redis+unix:///run/redis.sock?db=1&user=u&pass=S3CR3T",
        "redis+unix://h/run/redis.sock?pass=S3CR3T",
        "store = \"redis://user:S3CR3T@h\"\nmax_calls = 7\nrun_max_age = \"36h\"\nlog = \"debug\"\n",
        "store = \"redis://:S3CR3T@h:port\"\nlisen = 1\n",
        "[plans]\nfree = 7\n[[teams]]\nteam_id = \"a\"\nplan = \"basic\"\nincluded_credits = 9\n",
        "[[rate_cards]]\nversion = \"1\"\neffective_at = 2026-03-01T00:00:00Z\nrates = [{ model = \"m\", unit = \"call\", credits = 1 }]\n",
        "version = \"1\"\neffective_at = 2026-03-01T00:00:00Z\n[[rates]]\nmodel = \"m\"\nunit = \"image\"\ncredits = 5\ncredits_by_plan = { free = 10 }\n",
        "{\"version\": \"1\", \"effective_at\": \"2026-03-01T00:00:00Z\", \"rates\": [{\"model\": \"m\", \"unit\": \"call\", \"credits\": 2}]}",
    ];
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}
