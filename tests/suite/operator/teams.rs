//! `tollgate team`: changes of terms, overages, output and refusals.

use serde_json::json;
use tollgate::store::StoreLocation;

use super::{command, fails, json, text};
use crate::suite::support::sidecar::Sidecar;

#[test]
fn terms_that_are_not_named_stay_as_they_are() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let put = |arguments: &[&str]| {
        let mut team = json(&sidecar, &[&["team", "put", "acme"], arguments].concat());
        assert_eq!(team["updated_at"], json(&sidecar, &["team", "get", "acme"])["updated_at"]);
        let fields = team.as_object_mut().unwrap();
        for time in ["created_at", "updated_at"] {
            assert!(fields.remove(time).unwrap().as_str().unwrap().ends_with('Z'));
        }
        team
    };
    let mut expected = json!({
        "team_id": "acme", "plan": "professional", "paid_seat": false, "billing_anchor_day": 1,
        "included_credits": null, "overages_enabled": false, "overage_cap_blocks": null,
    });
    assert_eq!(put(&["--plan", "professional"]), expected);
    expected["paid_seat"] = true.into();
    assert_eq!(put(&["--seat"]), expected);
    expected["included_credits"] = 7_000.into();
    assert_eq!(put(&["--included", "7000"]), expected);
    text(&sidecar, &["team", "overages", "acme", "on", "--cap", "3"]);
    (expected["overages_enabled"], expected["overage_cap_blocks"]) = (true.into(), 3.into());
    assert_eq!(put(&["--anchor-day", "1"]), expected);
    expected["included_credits"] = serde_json::Value::Null;
    assert_eq!(put(&["--included", "none"]), expected);
    assert_eq!(put(&[]), expected);
}

#[test]
fn a_cap_stays_until_another_is_set() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let overages = |arguments: &[&str]| {
        let team = json(&sidecar, &[&["team", "overages", "demo-pro"], arguments].concat());
        (team["overages_enabled"].as_bool().unwrap(), team["overage_cap_blocks"].as_u64())
    };
    assert_eq!(overages(&["on"]), (true, None));
    assert_eq!(overages(&["on", "--cap", "0"]), (true, Some(0)));
    assert_eq!(overages(&["on", "--cap", "7"]), (true, Some(7)));
    assert_eq!(overages(&["off"]), (false, Some(7)));
    assert_eq!(overages(&["on"]), (true, Some(7)));
    assert_eq!(overages(&["on", "--cap", "none"]), (true, None));
}

#[test]
fn the_output_shows_the_changes_and_the_new_terms() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let made = text(&sidecar, &["team", "put", "acme", "--plan", "free"]);
    assert!(made.starts_with("acme: created\n  plan              free, no seat\n"), "{made}");
    let changed = text(&sidecar, &["team", "put", "acme", "--plan", "basic", "--seat", "--included", "12345"]);
    let expected = "acme: plan free → basic; paid seat no → yes; included credits the plan's → 12,345\n";
    assert!(changed.starts_with(expected), "{changed}");
    let same = text(&sidecar, &["team", "put", "acme", "--seat"]);
    assert!(same.starts_with("acme: no change\n"), "{same}");
    assert!(text(&sidecar, &["team", "get", "acme"]).contains("  included credits  12,345\n"));
    let list = text(&sidecar, &["team", "list"]);
    assert!(list.contains("│ acme       ┆ basic        ┆ yes") && list.ends_with("4 teams\n"), "{list}");
}

#[test]
fn a_refusal_is_shown_with_its_field_and_reason() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let table = [
        (&["team", "get", "nobody"][..], 66, "there is no such team"),
        (&["team", "get", "nobody"], 66, "TEAM_NOT_FOUND"),
        (&["team", "overages", "nobody", "on"], 66, "TEAM_NOT_FOUND"),
        (&["usage", "nobody"], 66, "TEAM_NOT_FOUND"),
        (&["charges", "nobody"], 66, "TEAM_NOT_FOUND"),
        (&["audit", "nobody"], 66, "TEAM_NOT_FOUND"),
        (&["team", "get", "a/b"], 65, "team_id must contain only"),
        (&["team", "put", "acme", "--plan", "gold"], 65, "team.plan must name a plan: free, basic, professional"),
        (&["team", "put", "demo-pro", "--anchor-day", "32"], 65, "team.billing_anchor_day must be 1 to 31"),
        (&["team", "put", "demo-pro", "--included=9999999999999"], 65, "team.included_credits must be 0 to"),
        (&["team", "overages", "demo-free", "on"], 65, "OVERAGES_UNAVAILABLE"),
        (&["usage", "demo-pro", "--cycle", "9999-01-01"], 65, "cycle_start must not be after the current cycle"),
        (&["team", "put", "acme", "--seat"], 64, "there is no team acme yet; a new team needs --plan"),
        (&["team", "put", "acme", "--anchor-day", "first"], 64, "--anchor-day"),
        (&["team", "put", "acme", "--included", "some"], 64, "expected a number or none"),
        (&["team", "overages", "demo-pro", "maybe"], 64, "possible values: on, off"),
        (&["usage", "demo-pro", "--cycle", "yesterday"], 64, "expected a date"),
    ];
    for (arguments, code, says) in table {
        fails(&command(&sidecar, arguments), code, says);
        fails(&command(&sidecar, &[arguments, &["--json"]].concat()), code, says);
    }
}
