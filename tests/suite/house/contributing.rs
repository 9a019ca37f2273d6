//! The files and folders that CONTRIBUTING.md sends a reader to exist.

use std::path::Path;

use super::source::{pattern, read};

#[test]
fn contributing_names_existing_files() {
    let page = read("CONTRIBUTING.md");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let span = pattern(r"`([\w.]+(?:/[\w.]+)+)`");
    let named: Vec<_> = span.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    let exists = |path: &String| top.join(path).exists() || top.join("src").join(path).exists();
    let missing: Vec<_> = named.iter().filter(|path| !exists(path)).collect();
    assert!(named.len() > 20 && missing.is_empty(), "of {named:?}, these do not exist: {missing:?}");
}
