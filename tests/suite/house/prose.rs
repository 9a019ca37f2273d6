//! The prose is plain English. These phrases each stood for a compressed style that a newcomer has to read twice.

use super::source::texts;

const PHRASES: [&str; 10] = [
    "so long as it",
    "whoever",
    "whatever comes",
    "of no use",
    "is told",
    "are told",
    "of which there",
    "what is asked of",
    "as it is said",
    "that is to be",
];

#[test]
fn the_prose_is_plain() {
    let places =
        ["src", "docs", "README.md", "CONTRIBUTING.md", "helm", "tests", "benches", "fuzz/src", "fuzz/README.md"];
    let mut found = Vec::new();
    for (path, text) in texts(&places).into_iter().filter(|(path, _)| path != "tests/suite/house/prose.rs") {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            found.extend(
                (PHRASES.iter())
                    .filter(|&&phrase| line.contains(phrase))
                    .map(|phrase| format!("{path}:{}: {phrase}", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "say these in plain English:\n{}", found.join("\n"));
}
