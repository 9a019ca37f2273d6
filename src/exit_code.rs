//! How a command of the program ends: its exit code, and the error that carries one.
//!
//! The codes are those of `sysexits.h`, so that scripts can tell a usage mistake from a sidecar that is down. Every command uses
//! this one set: `cli`, `operator` and `replay`. This module must know none of them.

/// `probe` found a sidecar that does not serve; or `replay` failed, or found other credits than the sidecar's.
pub const FAILURE: u8 = 1;

/// `EX_USAGE`: the command line is wrong.
pub const USAGE: u8 = 64;

/// `EX_DATAERR`: the input is not valid, or the sidecar rejects it.
pub const DATA_ERROR: u8 = 65;

/// `EX_NOINPUT`: a file, team or service that the command names does not exist or cannot be read.
pub const NO_INPUT: u8 = 66;

/// `EX_UNAVAILABLE`: the store or the sidecar does not answer.
pub const UNAVAILABLE: u8 = 69;

/// `EX_SOFTWARE`: an internal error.
pub const SOFTWARE: u8 = 70;

/// `EX_IOERR`: the output could not be written.
pub const IO_ERROR: u8 = 74;

/// `EX_TEMPFAIL`: the sidecar cannot answer now; the same command may work later.
pub const TEMPORARY_FAILURE: u8 = 75;

/// `EX_PROTOCOL`: the listener does not know the call.
pub const PROTOCOL: u8 = 76;

/// `EX_NOPERM`: the sidecar does not allow this caller to do it.
pub const NO_PERMISSION: u8 = 77;

/// `EX_CONFIG`: the configuration is not valid.
pub const CONFIG: u8 = 78;

/// What a shell reports for a process that SIGINT ended: 128 + 2.
pub const INTERRUPTED: u8 = 130;

/// What a shell reports for a process that SIGKILL ended: 128 + 9.
pub const KILLED: u8 = 137;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What is wrong and what to do, for the user.
    pub message: String,
    /// The exit code, for scripts.
    pub code: u8,
}

impl CommandError {
    /// Creates an error with this exit code and message.
    pub fn new(code: u8, message: impl ToString) -> Self {
        Self { message: message.to_string(), code }
    }
}
