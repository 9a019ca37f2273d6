//! The list of metrics is complete.

use std::collections::BTreeMap;

use tollgate::store::StoreLocation;

use super::{cells, code_spans, prose, read};
use crate::suite::{
    probes::{ANY_PORT, scrape},
    support::sidecar::Sidecar,
};

/// The metrics of docs/metrics.md, each with its kind.
fn listed() -> BTreeMap<String, String> {
    let page = read("docs/metrics.md");
    let rows = prose(&page).into_iter().filter_map(|(_, line)| cells(line));
    let metric = |row: Vec<String>| Some(((*code_spans(&row[0]).first()?).to_owned(), row[1].clone()));
    rows.filter_map(metric).filter(|(name, _)| name.starts_with("tollgate_")).collect()
}

#[test]
fn the_list_of_metrics_is_complete() {
    let sidecar = Sidecar::start_with(&StoreLocation::Memory, &[ANY_PORT]);
    let scraped = scrape(&sidecar.probe());
    let types = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let measured: BTreeMap<_, _> = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let mut listed = listed();
    // These have no line before the first call.
    for name in ["tollgate_call_duration_seconds", "tollgate_calls_refused_total"] {
        if !measured.contains_key(name) {
            assert!(listed.remove(name).is_some(), "docs/metrics.md does not list {name}");
        }
    }
    assert_eq!(measured, listed, "left: /metrics, right: docs/metrics.md");
}
