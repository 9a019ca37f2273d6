//! Tollgate is a gRPC sidecar that enforces credit quotas. Before a block calls a model, its executor asks the sidecar, which
//! answers Proceed (the credits are held) or Suspend (why, until when, and what lifts it). After the call, the executor commits the
//! real cost or releases the credits. Many sidecars share one store.
//!
//! The modules, in a good order for reading:
//!
//! 1. [`transaction`]: the language between the rules and the stores: records, guards, writes and replies.
//! 2. [`domain`]: the rules, as functions without a clock or IO: prices, terms, reservations, runs, charges and leases.
//! 3. [`store`]: executes transactions in memory, in a file, or on Redis or Valkey.
//! 4. [`cache`] and [`escrow`]: what the sidecar keeps in memory: the last seen state of each team, and its held leases.
//! 5. [`gate`]: decides a call. It reads the cache, builds a transaction from the rules, executes it, and retries on conflict.
//! 6. [`service`]: the gRPC services on top of the gate. [`proto`] is generated from the contract in `proto/`.
//! 7. [`serve`]: the running sidecar: listeners, connections, limits, access, health, startup and shutdown.
//! 8. [`config`] and [`cli`]: settings, and the command line. [`exit_code`] has the exit codes.
//! 9. [`operator`] and [`replay`]: commands that call a running sidecar through [`client`].
//!
//! [`metrics`], [`traces`], [`clock`] and [`watched_files`] are used throughout.
//!
//! `docs/internals/architecture.md` has diagrams of a call and of a lease, and the table of layers: which module may use which.

pub mod address;
pub mod cache;
pub mod call_refusal;
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
pub mod watched_files;
