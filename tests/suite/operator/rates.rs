//! `tollgate rates`: announcing rate cards, listing them, and refusals.

use serde_json::{Value, json};
use tollgate::store::StoreLocation;

use super::{bash, command, fails, json, text};
use crate::suite::support::sidecar::Sidecar;

const CARD: &str = r#"
    version = "2100"
    effective_at = 2100-01-01T00:00:00Z

    [[rates]]
    model = "gpt-4o"
    aliases = ["4o"]
    unit = "call"
    credits = 1234

    [[rates]]
    model = "dall-e-3"
    unit = "image"
    credits = 5
    credits_by_plan = { free = 10, basic = 7 }
"#;

fn shipped(sidecar: &Sidecar) -> Value {
    json(sidecar, &["rates", "list"])["rate_cards"][0].clone()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn a_card_from_a_file_is_announced_and_listed() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let card = file(CARD);
    let put = text(&sidecar, &["rates", "put", card.path().to_str().unwrap()]);
    assert!(put.starts_with("2100: announced, in effect from 2100-01-01\n"), "{put}");
    let list = text(&sidecar, &["rates", "list"]);
    assert!(list.starts_with("2025-01-22: in effect since 2025-01-22\n"), "{list}");
    assert!(list.ends_with(&put), "{list}");
    for row in [
        "│ gpt-4o   ┆ 4o          ┆ call  ┆   1,234 ┆                  │",
        "│ dall-e-3 ┆             ┆ image ┆       5 ┆ basic 7, free 10 │",
    ] {
        assert!(put.contains(row), "{put}");
    }
    // Putting the same card again succeeds.
    assert_eq!(text(&sidecar, &["rates", "put", card.path().to_str().unwrap()]), put);
    assert!(text(&sidecar, &["usage", "demo-pro"]).contains("next rate card: 2100\n"));
}

#[test]
fn a_listed_card_can_be_put_again_through_a_pipe() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let mut next = shipped(&sidecar);
    next["version"] = "next".into();
    next["effective_at"] = "2100-01-01T00:00:00Z".into();
    let given = file(&next.to_string());
    let line = r#""$0" rates put - --admin "$1" --json < "$2""#;
    let output = bash(line, &[sidecar.admin(), given.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), next);
    let list = json(&sidecar, &["rates", "list"]);
    assert_eq!(list, json!({ "rate_cards": [shipped(&sidecar), next], "in_effect": "2025-01-22" }));
}

#[test]
fn an_invalid_or_late_card_is_refused_with_what_to_do() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let table = [
        (CARD.replace("2100-01-01T", "2025-02-01T"), "NOTICE_TOO_SHORT"),
        (CARD.replace("\"2100\"", "\"2025-01-22\""), "ID_REUSED"),
        (CARD.replace("\"4o\"", "\"dall-e-3\""), "rates[1].model (line"),
        (CARD.replace("free = 10", "gold = 10"), "rates[1].credits_by_plan.gold (line"),
        (CARD.replacen("version", "note = \"new\"\nversion", 1), "note (line 2): unknown key"),
        (CARD.replace("aliases", "alias"), "alias (line 7): unknown key; did you mean aliases?"),
        (CARD.replace("unit = \"call\"", ""), "rates[0].unit (line 5): is missing"),
        ("{}".to_owned(), "version: is missing"),
        ("\0".repeat(2_000_000), "is too large for a rate card"),
    ];
    for (card, says) in table {
        let card = file(&card);
        fails(&command(&sidecar, &["rates", "put", card.path().to_str().unwrap()]), 65, says);
    }
    fails(&command(&sidecar, &["rates", "put", "no-such-file.toml"]), 66, "no-such-file.toml cannot be read");
    fails(&command(&sidecar, &["rates", "put", "redis://u:secret@h"]), 66, "(a URL) cannot be read");
    assert_eq!(json(&sidecar, &["rates", "list"])["rate_cards"].as_array().unwrap().len(), 1);
}
