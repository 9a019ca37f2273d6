//! Names: each type name has one meaning in the crate, and the name of a test can be read at a glance.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use super::source::{pattern, source_files, texts};

/// Maximum length of a test's name. The test's doc comment has the details.
const MAX_TEST_NAME: usize = 60;

#[test]
fn each_type_name_has_one_meaning() {
    let declaration = pattern(r"(?m)^(?:pub(?:\([^)]*\))? )?(?:struct|enum|union|trait|type) (\w+)");
    let files = source_files();
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for file in &files {
        for found in declaration.captures_iter(&file.code) {
            places.entry(found[1].to_owned()).or_default().push(&file.path);
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "these type names have more than one meaning: {places:#?}");
}

/// Tests that a macro defines, such as the stories, appear only in the list of this program.
#[test]
fn each_test_name_is_short() {
    let test = pattern(r"(?s)#\[(?:tokio::)?test\b[^\]]*\].*?\bfn (\w+)");
    let files = texts(&["src", "tests", "benches", "examples", "fuzz/src", "fuzz/fuzz_targets"]);
    let written = files.iter().flat_map(|(_, text)| test.captures_iter(text).map(|found| found[1].to_owned()));
    let listed = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let listed = listed.lines().filter_map(|line| line.strip_suffix(": test")?.rsplit("::").next().map(str::to_owned));
    let long: BTreeSet<_> = written.chain(listed).filter(|name| name.len() > MAX_TEST_NAME).collect();
    assert!(long.is_empty(), "these names of tests have more than {MAX_TEST_NAME} characters: {long:#?}");
}
