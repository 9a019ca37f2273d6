//! Files are short enough to hold one idea. Clippy bounds functions, by `too_many_lines`.

use super::source::texts;

const MOST_LINES: usize = 400;

#[test]
fn each_source_file_is_short() {
    let files = texts(&["src"]).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let lengths = files.map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > MOST_LINES).collect();
    assert!(long.is_empty(), "these files have more than {MOST_LINES} lines: {long:?}");
}
