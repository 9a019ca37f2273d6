//! Why a sidecar did not start: sentences for whoever started it.

use std::io;

use thiserror::Error;

use super::AccessError;
use crate::{address::ListenAddress, gate::GateError, store::OpenError};

/// Why a sidecar did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What lets clients in cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store cannot be opened, or is not fit to keep credits.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store is open, but gave no catalogue or no teams.
    #[error("the store is open, but does not answer as it should: {0}")]
    Gate(#[from] GateError),
    /// The compiled contract cannot be described to clients.
    #[error("the description of the services is damaged: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The metrics contradict each other.
    #[error("the metrics are damaged: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No spans can be sent there.
    #[error("otlp_endpoint is of no use: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error("something listens on {0} already; stop it, or choose another address")]
    Taken(ListenAddress),
    /// There is something at the path of a socket that is none.
    #[error("{0} is there already and is not a socket; choose another path")]
    NotASocket(ListenAddress),
    /// The path of a socket is longer than the system takes.
    #[error("the path of {address} is too long for a socket: it may have {longest} bytes; choose a shorter one")]
    PathTooLong {
        /// Where.
        address: ListenAddress,
        /// In bytes.
        longest: usize,
    },
    /// Other machines could reach what only this one may.
    #[error(
        "the admin listener at {0} could be reached from other machines, which needs TLS and a token: set \
         admin_tls_certificate, admin_tls_key and admin_token_file, or use 127.0.0.1, [::1] or unix:/path"
    )]
    BeyondThisMachine(ListenAddress),
    /// The system refuses.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// Where.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
}

impl ListenError {
    pub(super) fn refused(address: &ListenAddress, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(address.clone()),
            _ => Self::Refused { address: address.clone(), source },
        }
    }
}
