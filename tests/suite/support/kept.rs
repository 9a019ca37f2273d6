//! A store that supersedes the sidecars on it.

use tempfile::TempDir;
use tollgate::store::StoreLocation;

use super::{
    servers::{Engine, Server},
    sidecar::Sidecar,
};

/// A store, kept until the test ends.
pub(crate) enum Kept {
    /// A file in a directory.
    Embedded(TempDir),
    /// A server.
    Redis(Server),
}

impl Kept {
    /// An embedded one.
    pub(crate) fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    /// A server whose answers are in its append-only file before they are given.
    pub(crate) fn durable(engine: Engine) -> Self {
        Self::Redis(Server::start_durable(engine))
    }

    /// Where it is.
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

    /// The server; a test that asks for it has to have made one.
    pub(crate) fn server(&mut self) -> &mut Server {
        match self {
            Self::Redis(server) => server,
            Self::Embedded(_) => panic!("this store has no server"),
        }
    }
}
