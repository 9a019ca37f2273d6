//! No two files of src/ import each other, so that each can be read after what it builds on. A file and the files in its own
//! folder are one unit: a parent declares and re-exports its children, and they use what it declares.

use std::collections::{BTreeMap, BTreeSet};

use super::source::source_files;

#[test]
fn no_two_files_import_each_other() {
    let files = source_files();
    let paths: BTreeMap<_, _> = files.iter().map(|file| (&file.module[..], file.path.as_str())).collect();
    let imports: BTreeSet<_> = (files.iter())
        .flat_map(|file| file.mentions().into_iter().map(move |mention| (file, mention.segments)))
        .filter_map(|(file, segments)| {
            let target =
                (1..=segments.len()).rev().map(|end| &segments[..end]).find(|path| paths.contains_key(path))?;
            let related = file.module.starts_with(target) || target.starts_with(&file.module);
            (!related).then(|| (file.path.as_str(), paths[target]))
        })
        .collect();
    let mutual: Vec<_> = imports.iter().filter(|(from, to)| from < to && imports.contains(&(to, from))).collect();
    assert!(mutual.is_empty(), "these files import each other: {mutual:#?}");
}
