//! Operators' commands as processes, against real sidecar processes: their text output, their JSON, and their exit codes.

mod endings;
mod lists;
mod rates;
mod teams;
mod usage;

use std::process::{Command, Output};

use serde_json::Value;

use crate::suite::support::sidecar::{Sidecar, run, tollgate};

/// Runs a command on a sidecar's admin listener.
fn command(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    tollgate(&[arguments, &["--admin", sidecar.admin()]].concat())
}

/// Runs a command that must succeed, and returns its text output. It has no colours, because stdout is not a terminal.
#[track_caller]
fn text(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = command(sidecar, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "{arguments:?}: {text:?}");
    text
}

/// Runs a command that must succeed, and returns its JSON output.
#[track_caller]
fn json(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(sidecar, &[arguments, &["--json"]].concat())).unwrap()
}

/// Asserts that a command failed with this exit code, printed nothing on stdout, and that its error contains these words.
#[track_caller]
fn fails(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says), "{says}: {error}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Runs a line in bash. `$0` is the program, and `$1` and so on are the arguments.
fn bash(line: &str, arguments: &[&str]) -> Output {
    run(Command::new("bash").args(["-c", line, env!("CARGO_BIN_EXE_tollgate")]).args(arguments))
}
