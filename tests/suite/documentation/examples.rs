//! Examples of the pages, run as they stand: each prints what the page shows.

use std::{env, ffi::OsString, fs, path::Path, process::Command, sync::Arc};

use tempfile::TempDir;

use super::{read, root};
use crate::suite::support::{
    sidecar::{Sidecar, run},
    tool,
};

/// Where the examples expect a sidecar.
const ADDRESS: &str = "127.0.0.1:50051";

/// One command of an example, and what the page shows as its output.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    shown: String,
}

/// The fenced blocks of a section that are written in this language.
fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let opening = format!("```{language}\n");
    section.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The commands of a console block. A command begins with `$ `; what follows it is its output.
fn examples(block: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example { command: command.to_owned(), shown: String::new() });
        } else if let Some(example) = examples.last_mut() {
            example.shown.push_str(line);
            example.shown.push('\n');
        }
    }
    examples
}

/// Runs commands in one shell, in a directory, with the built programs first in its path. Returns what each printed.
fn outputs(directory: &TempDir, commands: &[String]) -> Vec<String> {
    const END: &str = "-- the end of a command --";
    let script: String = commands.iter().map(|command| format!("{{ {command}\n}} 2>&1\necho '{END}'\n")).collect();
    let built = Path::new(env!("CARGO_BIN_EXE_tollgate")).parent().unwrap().to_owned();
    let tools = tool("grpcurl").parent().unwrap().to_owned();
    let mut path = OsString::new();
    for folder in [built.as_os_str(), tools.as_os_str(), &env::var_os("PATH").unwrap()] {
        path.push(folder);
        path.push(":");
    }
    let mut shell = Command::new("env");
    shell.arg("-C").arg(directory.path()).args(["bash", "-c", &script]).env("PATH", path);
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TOLLGATE_")) {
        shell.env_remove(name);
    }
    let printed = String::from_utf8(run(&mut shell).stdout).unwrap();
    printed.split(&format!("{END}\n")).take(commands.len()).map(ToOwned::to_owned).collect()
}

/// An output without what differs from run to run: times, the grant, empty lines at the end.
fn comparable(output: &str) -> String {
    let mut text = String::new();
    for line in output.trim_end().lines() {
        let varying = ["\"expiresAt\": ", "\"cycleStart\": ", "\"cycleEnd\": ", "\"resumesAt\": ", "\"grant\": "];
        match varying.iter().find_map(|name| line.find(name).map(|at| at + name.len())) {
            Some(end) => text.push_str(&line[..end]),
            None => text.push_str(line.trim_end()),
        }
        text.push('\n');
    }
    text
}

/// Asserts that each example prints what the page shows.
#[track_caller]
fn print_what_is_shown(directory: &TempDir, address: &str, examples: &[Example]) {
    let commands: Vec<_> = examples.iter().map(|example| example.command.replace(ADDRESS, address)).collect();
    for (example, printed) in examples.iter().zip(outputs(directory, &commands)) {
        assert_eq!(comparable(&printed), comparable(&example.shown), "{}", example.command);
    }
}

/// A text with the digits of dates and times masked: `2026-11-23 06:26:43` becomes `0000-00-00 00:00:00`.
fn without_times(text: &str) -> String {
    let is_of_time = |word: &str| {
        let shape: String = word.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        matches!(shape.as_str(), "0000-00-00" | "00:00:00")
    };
    let mask = |word: &str| {
        if is_of_time(word) { word.replace(|letter: char| letter.is_ascii_digit(), "0") } else { word.to_owned() }
    };
    text.split(' ').map(mask).collect::<Vec<_>>().join(" ")
}

/// A sidecar on an empty memory store, so with the demo teams.
fn demo_sidecar() -> Sidecar {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    Sidecar::start_in(&directory, &["--store=memory", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"])
}

#[test]
fn the_demo_of_the_readme_prints_what_it_shows() {
    let page = read("README.md");
    let examples: Vec<_> =
        blocks(&page, "A demo in 60 seconds", "console").iter().flat_map(|block| examples(block)).collect();
    assert_eq!(examples.len(), 6);
    print_what_is_shown(&tempfile::tempdir().unwrap(), demo_sidecar().data(), &examples);
}

#[test]
fn the_quickstart_prints_what_it_shows() {
    let page = read("docs/quickstart.md");
    let calls = ["Reserve and commit", "A Suspend"].iter().flat_map(|heading| blocks(&page, heading, "console"));
    let examples: Vec<_> = calls.flat_map(|block| examples(&block)).collect();
    assert_eq!(examples.len(), 4);
    print_what_is_shown(&tempfile::tempdir().unwrap(), demo_sidecar().data(), &examples);
}

#[test]
fn a_sidecar_starts_as_the_quickstart_shows() {
    let page = read("docs/quickstart.md");
    let [block] = &blocks(&page, "Start a sidecar", "console")[..] else { panic!("not one block") };
    let [example] = &examples(block)[..] else { panic!("not one command") };
    let (shown, _) = example.shown.split_once("  ...\n").unwrap();
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let sidecar = Sidecar::start_in(&directory, &["--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
    let printed = sidecar.stdout().replace(sidecar.data(), ADDRESS).replace(sidecar.admin(), "127.0.0.1:50052");
    assert!(printed.starts_with(shown), "{printed}");
}

#[test]
fn check_config_prints_what_its_page_shows() {
    let page = read("docs/configuration.md");
    let [file] = &blocks(&page, "Plans, rate cards and teams", "toml")[..] else { panic!("not one file") };
    let [good, bad] = &blocks(&page, "Check a configuration", "console")[..] else { panic!("not two examples") };
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tollgate.toml"), file).unwrap();
    print_what_is_shown(&directory, ADDRESS, &examples(good));
    // The two mistakes of the second example.
    let mistaken =
        file.replace("max_connections", "max_conections").replace("\nplan = \"professional\"", "\nplan = \"gold\"");
    fs::write(directory.path().join("tollgate.toml"), mistaken).unwrap();
    print_what_is_shown(&directory, ADDRESS, &examples(bad));
}

/// The commands of docs/cli.md: the replay of the trace in tests/data, which always suspends the same calls, and what
/// operators see afterwards.
#[test]
fn the_commands_print_what_their_page_shows() {
    let page = read("docs/cli.md");
    let [replay] = &blocks(&page, "Replaying a trace", "console")[..] else { panic!("not one replay") };
    let [operate] = &blocks(&page, "Output", "console")[..] else { panic!("not one block of commands") };
    let [replay] = &examples(replay)[..] else { panic!("not one command") };
    let operate = examples(operate);
    assert_eq!(operate.len(), 2);

    let (sidecar, directory) = (demo_sidecar(), tempfile::tempdir().unwrap());
    let of_trace = replay.command.replace("cargo run --release --", "tollgate");
    let of_trace = of_trace.replace("tests/data", root().join("tests/data").to_str().unwrap());
    let of_trace = format!("{of_trace} --addr {} --admin {}", sidecar.data(), sidecar.admin());
    let addresses = format!("export TOLLGATE_ADMIN={}", sidecar.admin());
    let mut commands = vec![addresses, of_trace];
    commands.extend(operate.iter().map(|example| example.command.clone()));
    let printed = outputs(&directory, &commands);

    // The latencies that follow the first table differ each time.
    let table = |output: &str| output.split("\n\n").next().unwrap_or_default().to_owned();
    assert_eq!(table(&printed[1]), table(&replay.shown), "{}", printed[1]);
    for (example, printed) in operate.iter().zip(&printed[2..]) {
        // The rest of the cycle gets shorter.
        let [printed, shown] = [printed, &example.shown].map(|output| {
            let lines = output.trim_end().lines();
            let lines = lines.map(|line| without_times(line.split(", ends in ").next().unwrap_or_default()));
            lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(printed, shown, "{}", example.command);
    }
}

#[test]
fn what_varies_is_left_out_of_a_comparison_and_nothing_else() {
    assert_eq!(
        comparable("{\n  \"grant\": \"abc\",\n  \"used\": \"2\"\n}\n\n"),
        "{\n  \"grant\": \n  \"used\": \"2\"\n}\n"
    );
    assert_eq!(without_times("at 2026-11-23 06:26:43, 7-8"), "at 0000-00-00 06:26:43, 7-8");
    let expected = Example { command: "a".to_owned(), shown: "b\n".to_owned() };
    assert_eq!(examples("$ a\nb\n"), [expected]);
}
