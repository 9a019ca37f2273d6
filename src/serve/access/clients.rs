//! Which client may ask for which teams, as `[clients]` configures it.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use super::identity::ClientName;
use crate::{domain::id::Id, service::AllowedTeams};

/// Which client may ask for which teams, by the client's name in its certificate. A client that is not listed may ask for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients(BTreeMap<String, Option<BTreeSet<Id>>>);

impl Clients {
    /// Adds a client that may ask for these teams. `None` means all teams.
    pub fn with(mut self, client: impl Into<String>, teams: Option<BTreeSet<Id>>) -> Self {
        self.0.insert(client.into(), teams);
        self
    }

    /// Returns each client and the teams that it may ask for. `None` means all teams.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&BTreeSet<Id>>)> {
        self.0.iter().map(|(client, teams)| (client.as_str(), teams.as_ref()))
    }

    /// Returns the teams that a client with these names may ask for: those of all its names together.
    pub(super) fn teams_of(&self, names: &[ClientName]) -> AllowedTeams {
        let mut together = BTreeSet::new();
        for teams in names
            .iter()
            .flat_map(|name| self.0.iter().filter(|(client, _)| name.matches(client)))
            .map(|(_, teams)| teams)
        {
            match teams {
                None => return AllowedTeams::All,
                Some(teams) => together.extend(teams.iter().cloned()),
            }
        }
        AllowedTeams::These(Arc::new(together))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may ask for the teams of all its names, and an unknown client for none.
    #[test]
    fn a_client_has_the_teams_of_all_its_names() {
        let id = |team: &str| Id::parse(team).unwrap();
        let teams = |names: &[&str]| Some(names.iter().map(|team| id(team)).collect());
        let clients = Clients::default()
            .with("a.example", teams(&["one"]))
            .with("spiffe://x/b", teams(&["two"]))
            .with("operator", None);
        let may = |names: &[ClientName]| {
            let teams = clients.teams_of(names);
            ["one", "two", "three"].map(|team| teams.allow(&id(team)))
        };
        let dns = || ClientName::Dns("A.Example".to_owned());
        let uri = |uri: &str| ClientName::Other(uri.to_owned());
        assert_eq!(may(&[]), [false, false, false]);
        assert_eq!(may(&[dns()]), [true, false, false]);
        assert_eq!(may(&[uri("spiffe://x/b")]), [false, true, false]);
        assert_eq!(may(&[uri("spiffe://x/B"), uri("A.Example")]), [false, false, false]);
        assert_eq!(may(&[dns(), uri("spiffe://x/b")]), [true, true, false]);
        assert_eq!(may(&[uri("operator")]), [true, true, true]);
    }
}
