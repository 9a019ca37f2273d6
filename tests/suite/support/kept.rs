//! A store that supersedes the sidecars on it.

use tempfile::TempDir;
use tollgate::store::StoreLocation;

use super::{
    servers::{Engine, Server},
    sidecar::Sidecar,
};

/// A store that exists until the test ends.
pub(crate) enum Kept {
    /// A file in a directory.
    Embedded(TempDir),
    /// A server.
    Redis(Server),
}

impl Kept {
    /// Creates an embedded store.
    pub(crate) fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    /// Starts a server that writes each change to its append-only file before it answers.
    pub(crate) fn durable(engine: Engine) -> Self {
        Self::Redis(Server::start_durable(engine))
    }

    /// Returns the location of the store.
    pub(crate) fn location(&self) -> StoreLocation {
        match self {
            Self::Embedded(directory) => StoreLocation::Embedded(directory.path().join("data")),
            Self::Redis(server) => server.location(),
        }
    }

    /// Starts a sidecar on it.
    pub(crate) fn sidecar(&self) -> Sidecar {
        Sidecar::start(&self.location())
    }

    /// Returns the server. Panics for an embedded store.
    pub(crate) fn server(&mut self) -> &mut Server {
        match self {
            Self::Redis(server) => server,
            Self::Embedded(_) => panic!("this store has no server"),
        }
    }
}
