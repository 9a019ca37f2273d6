//! Tollgate: a quota-enforcement sidecar. docs/internals/architecture.md is the map of this tree.

pub mod cache;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod domain;
pub mod escrow;
pub mod exit_code;
pub mod gate;
pub mod metrics;
pub mod operator;
pub mod proto;
pub mod replay;
pub mod serve;
pub mod service;
pub mod store;
pub mod traces;
pub mod transaction;
mod wakeable;
pub mod watched_file;
