//! The lines to show whoever started a sidecar: where it is, what it keeps, and what to try.

use std::fmt;

use super::{
    ListenAddress,
    demo::{self, Teams},
};
use crate::store::{Store, StoreLocation};

/// The lines to show whoever started a sidecar.
#[derive(Clone, Debug)]
pub struct Welcome {
    listen: ListenAddress,
    admin: ListenAddress,
    pub(super) probe: Option<ListenAddress>,
    store: String,
    durability: String,
    teams: Teams,
}

impl Welcome {
    pub(super) fn new(
        listen: &ListenAddress,
        admin: &ListenAddress,
        location: &StoreLocation,
        store: &Store,
        teams: Teams,
    ) -> Self {
        Self {
            listen: listen.clone(),
            admin: admin.clone(),
            probe: None,
            store: location.to_string(),
            durability: store.durability().to_string(),
            teams,
        }
    }

    fn calls_of(&self, formatter: &mut fmt::Formatter<'_>, team: &str) -> fmt::Result {
        let reserve = format!(
            r#"{{"team_id":"{team}","flow_id":"flow-1","run_id":"run-1","block_id":"block-1","reservation_id":"first","model":"gpt-4o"}}"#
        );
        let commit = format!(r#"{{"team_id":"{team}","reservation_id":"first"}}"#);
        let usage = format!(r#"{{"team_id":"{team}"}}"#);
        writeln!(formatter, "{}", grpcurl(&self.listen, "QuotaService/CheckAndReserve", &reserve))?;
        writeln!(formatter, "{}", grpcurl(&self.listen, "QuotaService/Commit", &commit))?;
        writeln!(formatter, "{}", grpcurl(&self.admin, "UsageService/GetUsage", &usage))
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Tollgate is ready.")?;
        writeln!(formatter, "  executors: {} (QuotaService)", self.listen)?;
        writeln!(formatter, "  admin:     {} (AccountService, UsageService)", self.admin)?;
        if let Some(probe) = &self.probe {
            writeln!(formatter, "  probe:     {probe} (health, /metrics)")?;
        }
        writeln!(formatter, "  store:     {} ({})", self.store, self.durability)?;
        writeln!(formatter)?;
        match &self.teams {
            Teams::Demo => {
                let teams = demo::TEAMS.map(|(team, plan, paid_seat)| {
                    format!("{team} ({}, {} seat)", plan.name(), if paid_seat { "a paid" } else { "no" })
                });
                writeln!(formatter, "The store was empty, so it has three demo teams now: {}. Try:", teams.join(", "))?;
                let [_, (team, ..), _] = demo::TEAMS;
                self.calls_of(formatter, team)
            }
            Teams::Existing(team) => {
                writeln!(formatter, "Try the team {team}:")?;
                self.calls_of(formatter, team.as_str())
            }
            Teams::None => {
                writeln!(formatter, "There is no team yet. Make one:")?;
                let put = r#"{"team":{"team_id":"my-team","plan":"basic","paid_seat":true,"billing_anchor_day":1}}"#;
                writeln!(formatter, "{}", grpcurl(&self.admin, "AccountService/PutTeam", put))
            }
        }
    }
}

/// A call as one types it into a shell. The contents of `request` have no quote that a shell would see.
fn grpcurl(address: &ListenAddress, method: &str, request: &str) -> String {
    let (socket, target) = match address.as_seen_from_here() {
        // Left to itself, grpcurl names the socket's path as the authority, which HTTP/2 does not allow.
        ListenAddress::Unix(path) => ("-unix -authority localhost ", path.display().to_string()),
        address @ ListenAddress::Tcp { .. } => ("", address.to_string()),
    };
    format!("  grpcurl -plaintext {socket}-d '{request}' {target} tollgate.v1.{method}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Id;

    fn welcome(teams: Teams) -> Welcome {
        Welcome {
            listen: "127.0.0.1:50051".parse().unwrap(),
            admin: "unix:/run/admin.sock".parse().unwrap(),
            probe: None,
            store: "memory".to_owned(),
            durability: "nothing survives this process".to_owned(),
            teams,
        }
    }

    #[test]
    fn demo_teams_are_named_and_tried() {
        let lines = welcome(Teams::Demo).to_string();
        assert!(lines.contains("demo-free (free, no seat), demo-basic (basic, a paid seat), demo-pro"), "{lines}");
        assert_eq!(lines.matches("grpcurl").count(), 3, "{lines}");
        assert!(lines.contains("memory (nothing survives this process)"), "{lines}");
        assert!(lines.contains("127.0.0.1:50051 tollgate.v1.QuotaService/Commit"), "{lines}");
        assert!(lines.contains("-plaintext -unix -authority localhost -d"), "{lines}");
        assert!(lines.contains("/run/admin.sock tollgate.v1.UsageService/GetUsage"), "{lines}");
    }

    #[test]
    fn where_teams_are_no_demo_is_spoken_of() {
        let lines = welcome(Teams::Existing(Id::parse("acme").unwrap())).to_string();
        assert!(!lines.contains("demo"), "{lines}");
        assert!(lines.contains(r#"{"team_id":"acme","reservation_id":"first"}"#), "{lines}");
        assert!(welcome(Teams::None).to_string().contains("AccountService/PutTeam"));
    }
}
