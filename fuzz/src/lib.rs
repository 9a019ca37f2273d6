//! What is fuzzed: for each target what has to hold whatever the input, and inputs to start from.
//!
//! These functions are the targets of cargo-fuzz, and run as ordinary tests too: tests/suite/fuzzing.rs includes this file.

#![allow(unreachable_pub, reason = "the targets of cargo-fuzz are crates of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a finding is told")]

pub mod calendar;
pub mod calls;
pub mod configuration;
pub mod grants;
mod input;
pub mod pages;
pub mod raw;
pub mod records;
mod world;
