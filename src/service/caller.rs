//! Who calls, as far as the connection tells, and for which teams.

use std::{collections::BTreeSet, fmt, sync::Arc};

use tonic::Request;

use crate::{call_refusal::CallRefusal, domain::id::Id};

/// Who is at the other end of a connection, as the audit stream names it, and for which teams it may ask QuotaService.
///
/// The listener puts it into each request of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    teams: AllowedTeams,
}

/// For which teams a caller may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedTeams {
    /// For all that there are.
    All,
    /// For these only.
    These(Arc<BTreeSet<Id>>),
}

impl AllowedTeams {
    /// Whether a team is one of them.
    pub fn have(&self, team: &Id) -> bool {
        match self {
            Self::All => true,
            Self::These(teams) => teams.contains(team),
        }
    }

    /// Refuses what is asked for another team, whether there is such a team or not.
    pub(super) fn check(&self, team: &Id) -> Result<(), CallRefusal> {
        if self.have(team) { Ok(()) } else { Err(CallRefusal::TeamNotAllowed) }
    }
}

impl Caller {
    /// A caller of this name, for whichever team.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), teams: AllowedTeams::All }
    }

    /// The same for these teams.
    pub fn with_teams(self, teams: AllowedTeams) -> Self {
        Self { teams, ..self }
    }

    /// Who sent a request.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self::new("unknown"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// For which teams it may ask.
    pub fn teams(&self) -> &AllowedTeams {
        &self.teams
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}
