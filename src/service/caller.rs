//! The caller of a request, as its connection identifies it, and the teams that it may ask for.

use std::{collections::BTreeSet, fmt, sync::Arc};

use tonic::Request;

use crate::{call_refusal::CallRefusal, domain::id::Id};

/// The client at the other end of a connection: its name, as the audit log has it, and the teams that it may ask QuotaService
/// for.
///
/// The listener attaches it to each request of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    teams: AllowedTeams,
}

/// The teams that a caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedTeams {
    /// All teams.
    All,
    /// These teams only.
    These(Arc<BTreeSet<Id>>),
}

impl AllowedTeams {
    /// Returns whether a team is allowed.
    pub fn allow(&self, team: &Id) -> bool {
        match self {
            Self::All => true,
            Self::These(teams) => teams.contains(team),
        }
    }

    /// Fails if a team is not allowed, whether the team exists or not.
    pub(super) fn check(&self, team: &Id) -> Result<(), CallRefusal> {
        if self.allow(team) { Ok(()) } else { Err(CallRefusal::TeamNotAllowed) }
    }
}

impl Caller {
    /// Returns a caller with this name, which may ask for all teams.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), teams: AllowedTeams::All }
    }

    /// Returns the caller, limited to these teams.
    pub fn with_teams(self, teams: AllowedTeams) -> Self {
        Self { teams, ..self }
    }

    /// Returns the caller of a request.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self::new("unknown"))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the teams that it may ask for.
    pub fn teams(&self) -> &AllowedTeams {
        &self.teams
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}
