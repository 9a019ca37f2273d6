//! The fuzz targets. Each module has a `check`, which must not panic for any input, and `seeds` to start from.
//!
//! cargo-fuzz runs these functions, and `cargo test` does too: `tests/suite/fuzzing.rs` includes this file.

#![allow(unreachable_pub, reason = "the targets of cargo-fuzz are crates of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a finding is reported by a panic")]

pub mod calendar;
pub mod calls;
pub mod configuration;
pub mod grants;
mod input;
pub mod pages;
pub mod raw;
pub mod records;
mod world;
