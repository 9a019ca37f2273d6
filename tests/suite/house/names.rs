//! Names: each type name has one meaning in the crate.

use std::collections::BTreeMap;

use super::source::{pattern, source_files};

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
