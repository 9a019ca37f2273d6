//! Tests and code that the pages name.

use std::path::{Path, PathBuf};

use super::{cells, code_spans, files_below, pages, prose, read, root};

/// The file of a module below a folder.
fn module_file(folder: &str, module: &[&str]) -> PathBuf {
    Path::new(folder).join(module.join("/")).with_extension("rs")
}

/// Whether a test, or a module of tests, exists below a folder: `module::test`, or `module::module`.
fn exists(folder: &str, name: &str) -> bool {
    let parts: Vec<_> = name.split("::").collect();
    if root().join(module_file(folder, &parts)).is_file() {
        return true;
    }
    let Some((test, module)) = parts.split_last() else { return false };
    let file = module_file(folder, module);
    root().join(&file).is_file() && read(file).contains(&format!("fn {test}("))
}

/// Returns the tests of a cell that do not exist. A name followed by `(unit)` is a unit test.
fn missing_tests(cell: &str) -> Vec<String> {
    let mut parts = cell.split('`').skip(1).peekable();
    let mut missing = Vec::new();
    while let Some(name) = parts.next() {
        let folder = if parts.next().is_some_and(|after| after.starts_with(" (unit)")) { "src" } else { "tests/suite" };
        if !exists(folder, name) {
            missing.push(name.to_owned());
        }
    }
    missing
}

/// What of a cell about code does not exist: a file or folder below `src`, or a name that is in none of the cell's files.
fn missing_code(cell: &str, sources: &[(PathBuf, String)]) -> Vec<String> {
    let spans = code_spans(cell);
    let (places, names): (Vec<&str>, Vec<&str>) =
        spans.into_iter().partition(|span| span.ends_with(".rs") || span.ends_with('/'));
    let found = |place: &str| {
        let place = place.to_owned();
        sources.iter().filter(move |(path, _)| match place.strip_suffix('/') {
            Some(folder) => root().join("src").join(folder).is_dir() && path.starts_with(Path::new("src").join(folder)),
            None => path.ends_with(&place),
        })
    };
    let mut missing: Vec<_> =
        places.iter().filter(|place| found(place).next().is_none()).map(ToString::to_string).collect();
    let is_there = |name: &str| places.iter().flat_map(|place| found(place)).any(|(_, text)| text.contains(name));
    missing.extend(names.into_iter().filter(|name| !is_there(name)).map(ToOwned::to_owned));
    missing
}

/// The filters of `tests/run FILTER` in a page.
fn filters(page: &str) -> Vec<&str> {
    let commands = page.split("tests/run ").skip(1);
    let filters = commands.filter_map(|rest| rest.split([' ', '\n', '`']).next());
    // A placeholder is written in capitals, and a comment or an option is no filter.
    filters.filter(|filter| filter.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

#[test]
fn every_test_and_guard_of_the_invariants_exists() {
    let page = read("docs/internals/invariants.md");
    let sources: Vec<_> = files_below("src", "rs").into_iter().map(|path| (path.clone(), read(path))).collect();
    let mut problems = Vec::new();
    let mut rows = 0;
    for (number, line) in prose(&page) {
        let Some(row) = cells(line) else { continue };
        let [_, guard, code, tests] = &row[..] else { panic!("line {number} has not four cells: {line}") };
        if guard == "guard" || guard.starts_with('-') {
            continue;
        }
        rows += 1;
        if code_spans(tests).is_empty() {
            problems.push(format!("line {number}: no test guards it"));
        }
        problems.extend(missing_tests(tests).iter().map(|name| format!("line {number}: there is no test {name}")));
        problems.extend(missing_code(code, &sources).iter().map(|name| format!("line {number}: src has no {name}")));
    }
    assert!(rows > 60, "only {rows} rows are left");
    assert!(problems.is_empty(), "docs/internals/invariants.md:\n{}", problems.join("\n"));
}

/// Whether a piece of code is a path of the repository, such as `src/gate` or `tests/run`.
fn is_path(span: &str) -> bool {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "docs/", "helm/", "examples/", "proto/", "benches/", "build/", "fuzz/"];
    FOLDERS.iter().any(|folder| span.starts_with(folder))
        && span.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter))
}

#[test]
fn every_path_in_the_pages_exists() {
    let mut problems = Vec::new();
    for page in pages() {
        // The changelog names paths of earlier versions.
        if page == Path::new("CHANGELOG.md") {
            continue;
        }
        let text = read(&page);
        for (number, line) in prose(&text) {
            for span in code_spans(line).into_iter().filter(|span| is_path(span)) {
                let beside = root().join(page.parent().unwrap()).join(span);
                let path = root().join(span);
                if ![&path, &path.with_extension("rs"), &beside].into_iter().any(|path| path.exists()) {
                    problems.push(format!("{}:{number}: there is no {span}", page.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_code_map_has_every_module() {
    let page = read("docs/internals/architecture.md");
    let map = page.split("\n## Code map\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let spans = code_spans(map);
    let modules = files_below("src", "rs").into_iter().filter(|path| path.parent() == Some(Path::new("src")));
    let missing: Vec<_> = modules
        .filter(|path| !path.ends_with("lib.rs") && !path.ends_with("main.rs"))
        .filter(|path| {
            let (file, folder) = (path.to_str().unwrap(), path.with_extension(""));
            !spans.contains(&file) && !spans.contains(&folder.to_str().unwrap())
        })
        .collect();
    assert!(missing.is_empty(), "the code map of docs/internals/architecture.md lacks {missing:?}");
}

#[test]
fn every_filter_of_tests_run_finds_a_test() {
    let tests = files_below("tests/suite", "rs").into_iter().map(|path| {
        let module = path.with_extension("").display().to_string().replace('/', "::");
        let text = read(&path);
        (module, text)
    });
    let tests: Vec<_> = tests.collect();
    let finds = |filter: &str| {
        tests.iter().any(|(module, text)| {
            module.contains(filter)
                || text.split("fn ").skip(1).any(|rest| rest.split('(').next().unwrap().contains(filter))
        })
    };
    let mut problems = Vec::new();
    for page in pages() {
        for filter in filters(&read(&page)) {
            if !finds(filter) {
                problems.push(format!("{}: no test is named {filter}", page.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_test_or_guard_that_is_gone_is_found() {
    assert!(missing_tests("`documentation::named::a_test_or_guard_that_is_gone_is_found`, `wire`").is_empty());
    assert_eq!(missing_tests("`wire::gone`; `gone` (unit)"), ["wire::gone", "gone"]);
    let sources = vec![(PathBuf::from("src/domain/reserve.rs"), "fn covers()".to_owned())];
    assert!(missing_code("`reserve.rs`, `covers`; `domain/`", &sources).is_empty());
    assert_eq!(missing_code("`gone.rs`; `reserve.rs`, `uncovers`", &sources), ["gone.rs", "uncovers"]);
    assert!(is_path("src/gate") && is_path("tests/run") && !is_path("tests/run FILTER") && !is_path("gate"));
    assert_eq!(filters("`tests/run`, `tests/run wire`, tests/run FILTER, tests/run --help"), ["wire"]);
}
