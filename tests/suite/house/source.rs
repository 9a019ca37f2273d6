//! Reading the repository: its files, and the paths into the crate that a Rust file names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

/// Compiles a pattern of these tests.
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Reads a text file, by its path from the top of the repository.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the text files at these paths and below, sorted, as paths from the top of the repository and their texts. A path
/// that does not exist is an error, so that a test cannot pass because it looks in the wrong place.
pub(super) fn texts(paths: &[&str]) -> Vec<(String, String)> {
    let mut files = BTreeSet::new();
    for path in paths {
        collect(&top().join(path), &mut files);
    }
    let relative = |file: &PathBuf| file.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
    files.iter().filter_map(|file| Some((relative(file), fs::read_to_string(file).ok()?))).collect()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else {
        assert!(path.is_file(), "{} does not exist", path.display());
        files.insert(path.to_owned());
    }
}

/// Production code of one file in src/: comments, `#[cfg(test)]` modules and `#[cfg(test)]` imports are blanked, and line
/// numbers are those of the file.
pub(super) struct SourceFile {
    /// Path from the top of the repository, such as `src/gate/reserve.rs`.
    pub(super) path: String,
    /// Module path in the crate, such as `gate`, `reserve`. It is empty for the crate's root.
    pub(super) module: Vec<String>,
    /// Text of the production code.
    pub(super) code: String,
}

/// A path into the crate, as one line of a file names it.
pub(super) struct Mention {
    /// Line of the file, from 1.
    pub(super) line: usize,
    /// Segments from the crate's root, such as `store`, `error`, `StoreError`.
    pub(super) segments: Vec<String>,
}

/// Returns all files of src/ that are part of the program, so without those that only tests are compiled with.
pub(super) fn source_files() -> Vec<SourceFile> {
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)(^|\s)//.*$"));
    static TEST_FILE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))? )?mod (\w+);"));
    // Clippy has a module of tests at the end of its file.
    static TEST_CODE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?s)#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:mod \w+ \{.*|use [^;]*;)"));

    let mut test_modules = BTreeSet::new();
    let mut files = Vec::new();
    for (path, text) in texts(&["src"]) {
        let Some(stem) = path.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs")) else { continue };
        let module: Vec<_> = match stem {
            "lib" | "main" => Vec::new(),
            stem => stem.split('/').map(str::to_owned).collect(),
        };
        let code = blank(&COMMENT, &text);
        test_modules.extend(TEST_FILE.captures_iter(&code).map(|found| [&module[..], &[found[1].to_owned()]].concat()));
        files.push(SourceFile { path, module, code: blank(&TEST_CODE, &code) });
    }
    files.retain(|file| !test_modules.contains(&file.module));
    files
}

/// Replaces what matches by its line ends alone.
fn blank(pattern: &Regex, text: &str) -> String {
    let lines = |found: &regex::Captures<'_>| found[0].chars().filter(|&c| c == '\n').collect::<String>();
    pattern.replace_all(text, lines).into_owned()
}

impl SourceFile {
    /// Returns the paths into the crate that the file names: those of its `use` declarations, with braces expanded, and
    /// those written out where they are used.
    pub(super) fn mentions(&self) -> Vec<Mention> {
        static USE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\buse ((?:crate|super|self)::[^;]*);"));
        static INLINE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(?:crate|super)(?:::\w+)+"));

        let mut paths = Vec::new();
        for found in USE.captures_iter(&self.code) {
            let mut leaves = Vec::new();
            expand("", &found[1], &mut leaves);
            paths.extend(leaves.into_iter().map(|leaf| (found.get(0).unwrap().start(), leaf)));
        }
        paths.extend(INLINE.find_iter(&self.code).map(|found| (found.start(), found.as_str().to_owned())));
        let line = |start: usize| 1 + self.code[..start].matches('\n').count();
        paths.iter().map(|(start, path)| Mention { line: line(*start), segments: self.resolve(path) }).collect()
    }

    /// Turns a path that begins with `crate`, `self` or `super` into segments from the crate's root.
    fn resolve(&self, path: &str) -> Vec<String> {
        let mut segments = self.module.clone();
        for segment in path.split("::") {
            match segment {
                "crate" => segments.clear(),
                "super" => drop(segments.pop()),
                "self" | "*" => {}
                name => segments.push(name.to_owned()),
            }
        }
        segments
    }
}

/// Writes out the paths of a `use` tree: `crate::{a::B, c::{self, D as E}}` is `crate::a::B`, `crate::c::self`, `crate::c::D`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let group = group.strip_suffix('}').unwrap_or_else(|| panic!("no `use` tree: {tree}"));
    let prefix = format!("{prefix}{}", head.trim());
    for branch in branches(group) {
        expand(&prefix, branch, paths);
    }
}

/// Splits the inside of a group at the commas that are in no inner group.
fn branches(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let outside = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    group.split(outside).filter(|branch| !branch.trim().is_empty()).collect()
}

#[test]
fn a_use_tree_is_expanded() {
    let module = vec!["a".to_owned(), "b".to_owned()];
    let code =
        "\nuse crate::{c, d::{self, E as F, g::*}};\nuse super::{h, i::J};\nfn k(l: &crate::m::N) {}\n".to_owned();
    let file = SourceFile { path: "src/a/b.rs".to_owned(), module, code };
    let found = file.mentions().into_iter().map(|found| (found.line, found.segments.join("::"))).collect::<Vec<_>>();
    let expected = [(2, "c"), (2, "d"), (2, "d::E"), (2, "d::g"), (3, "a::h"), (3, "a::i::J"), (4, "m::N")];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}
