//! Links between pages, to files and to headings.

use std::{collections::HashSet, path::Path};

use super::{pages, prose, read, root};

/// The targets of the links in a text.
fn targets(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    // A link counts by its text.
    let mut shown = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    let kept = shown.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().trim().replace(' ', "-")
}

/// The anchors of a page.
fn anchors(page: &str) -> HashSet<String> {
    let headings = prose(page).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).collect()
}

/// Why a link of this page leads nowhere.
fn problem(page: &Path, text: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") {
        return None;
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.parent().unwrap();
    let linked = if path.is_empty() { root().join(page) } else { root().join(folder).join(path) };
    if !linked.exists() {
        return Some("there is no such file");
    }
    let is_known = fragment.is_empty()
        || if path.is_empty() { anchors(text).contains(fragment) } else { anchors(&read(linked)).contains(fragment) };
    (!is_known).then_some("there is no such heading")
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut problems = Vec::new();
    for page in pages() {
        let text = read(&page);
        for (number, line) in prose(&text) {
            for target in targets(line) {
                if let Some(problem) = problem(&page, &text, target) {
                    problems.push(format!("{}:{number}: {target}: {problem}", page.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_page_of_docs_is_in_its_index() {
    let index = read("docs/README.md");
    let linked: HashSet<_> = targets(&index).into_iter().collect();
    let docs = pages().into_iter().filter_map(|page| page.strip_prefix("docs").map(Path::to_owned).ok());
    let missing: Vec<_> =
        docs.filter(|page| page != Path::new("README.md") && !linked.contains(page.to_str().unwrap())).collect();
    assert!(missing.is_empty(), "docs/README.md does not link {missing:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new("docs/rules.md");
    let text = "# One `two`\n## Of [a](b.md), (c)";
    assert_eq!(targets("[a](b.md) and [c](#d)"), ["b.md", "#d"]);
    for (target, expected) in [
        ("#one-two", None),
        ("#of-a-c", None),
        ("#three", Some("there is no such heading")),
        ("../README.md", None),
        ("../README.md#nowhere", Some("there is no such heading")),
        ("nowhere.md", Some("there is no such file")),
        ("https://example.com/#x", None),
    ] {
        assert_eq!(problem(page, text, target), expected, "{target}");
    }
}
