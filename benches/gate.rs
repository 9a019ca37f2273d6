//! `cargo bench --bench gate`: the cost of a call, compared with that of an empty gRPC call (the floor) in the same run.
//!
//! This process is the conductor. It starts the servers and a load client as separate processes, sends orders to the load
//! client, and prints the report. docs/internals/performance-log.md explains the rows.

mod gate {
    pub(super) mod arguments;
    pub(super) mod conductor;
    mod drain;
    mod effort;
    pub(super) mod floor;
    mod growth;
    mod last_credits;
    mod lease_tables;
    pub(super) mod load;
    mod load_client;
    mod matrix;
    mod metrics;
    mod operation;
    mod order;
    mod process;
    mod redis_calls;
    mod redis_server;
    mod report;
    mod rounds;
    mod row;
    mod script_call;
    mod server;
    mod shared_runs;
    mod stage;
    mod stopped_redis;
    mod strict_path;
    mod table;
}

use std::process::ExitCode;

use clap::Parser as _;
use gate::{
    arguments::{CommandLine, Role},
    conductor, floor, load,
};

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let done = match command_line.role {
        Some(Role::Floor { address }) => floor::run(&address),
        Some(Role::Load) => load::run(),
        None => conductor::run(&command_line.settings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
