//! Why a sidecar did not start, in sentences for the operator.

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
    /// The access settings or their files cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store cannot be opened, or may lose credits.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store is open, but its catalogue or teams could not be read.
    #[error("the store is open, but its catalogue or teams cannot be read: {0}")]
    Gate(#[from] GateError),
    /// The descriptors of the services are invalid.
    #[error("the descriptors of the services are invalid: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Spans cannot be sent to the collector's URL.
    #[error("otlp_endpoint is not a URL to send spans to: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("another process already listens on {0}; stop it, or choose another address")]
    Taken(ListenAddress),
    /// The path of the socket is taken by a file that is not a socket.
    #[error("{0} exists and is not a socket; choose another path")]
    NotASocket(ListenAddress),
    /// The path of the socket is longer than the system allows.
    #[error("the path of {address} is too long for a socket; choose one of at most {longest} bytes")]
    PathTooLong {
        /// The address.
        address: ListenAddress,
        /// The limit in bytes.
        longest: usize,
    },
    /// Other machines could reach a listener that is for this machine only.
    #[error(
        "other machines could reach the admin listener at {0}, which needs TLS and a token: set \
         admin_tls_certificate, admin_tls_key and admin_token_file, or use 127.0.0.1, [::1] or unix:/path"
    )]
    BeyondThisMachine(ListenAddress),
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address.
        address: ListenAddress,
        /// The cause.
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
