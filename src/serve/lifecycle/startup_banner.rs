//! The lines that a sidecar prints when it has started: its addresses, its store, and calls to try.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::demo::{self, StoreTeams};
use crate::{
    address::ListenAddress,
    serve::access::{Access, TlsFiles},
    store::{Store, StoreLocation},
};

/// The lines that a sidecar prints when it has started. Its `Display` is these lines.
#[derive(Clone, Debug)]
pub struct StartupBanner {
    listen: BannerListener,
    admin: BannerListener,
    pub(in crate::serve) probe: Option<ListenAddress>,
    store: String,
    durability: String,
    teams: StoreTeams,
}

impl StartupBanner {
    pub(in crate::serve) fn new(
        listen: &ListenAddress,
        admin: &ListenAddress,
        access: &Access,
        location: &StoreLocation,
        store: &Store,
        teams: StoreTeams,
    ) -> Self {
        Self {
            listen: BannerListener::of(listen, &access.listen_tls, None),
            admin: BannerListener::of(admin, &access.admin_tls, access.admin_token_file.as_deref()),
            probe: None,
            store: location.to_string(),
            durability: store.durability().to_string(),
            teams,
        }
    }

    fn write_calls(&self, formatter: &mut fmt::Formatter<'_>, team: &str) -> fmt::Result {
        let reserve = format!(
            r#"{{"team_id":"{team}","flow_id":"flow-1","run_id":"run-1","block_id":"block-1","reservation_id":"first","model":"gpt-4o"}}"#
        );
        let commit = format!(r#"{{"team_id":"{team}","reservation_id":"first"}}"#);
        let usage = format!(r#"{{"team_id":"{team}"}}"#);
        writeln!(formatter, "{}", self.listen.grpcurl("QuotaService/CheckAndReserve", &reserve))?;
        writeln!(formatter, "{}", self.listen.grpcurl("QuotaService/Commit", &commit))?;
        writeln!(formatter, "{}", self.admin.grpcurl("UsageService/GetUsage", &usage))
    }
}

impl fmt::Display for StartupBanner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Tollgate is ready.")?;
        writeln!(formatter, "  executors: {} (QuotaService{})", self.listen.address, self.listen.requirements())?;
        writeln!(
            formatter,
            "  admin:     {} (AccountService, UsageService{})",
            self.admin.address,
            self.admin.requirements()
        )?;
        if let Some(probe) = &self.probe {
            writeln!(formatter, "  probe:     {probe} (health, /metrics)")?;
        }
        writeln!(formatter, "  store:     {} ({})", self.store, self.durability)?;
        writeln!(formatter)?;
        match &self.teams {
            StoreTeams::Demo => {
                let teams = demo::TEAMS.map(|(team, plan, paid_seat)| {
                    format!("{team} ({}, {} seat)", plan.name(), if paid_seat { "a paid" } else { "no" })
                });
                writeln!(formatter, "The store was empty, so it has three demo teams now: {}. Try:", teams.join(", "))?;
                let [_, (team, ..), _] = demo::TEAMS;
                self.write_calls(formatter, team)
            }
            StoreTeams::Existing(team) => {
                writeln!(formatter, "Try the team {team}:")?;
                self.write_calls(formatter, team.as_str())
            }
            StoreTeams::None => {
                writeln!(formatter, "There is no team yet. Make one:")?;
                let put = r#"{"team":{"team_id":"my-team","plan":"basic","paid_seat":true,"billing_anchor_day":1}}"#;
                writeln!(formatter, "{}", self.admin.grpcurl("AccountService/PutTeam", put))
            }
        }
    }
}

/// A listener as its clients see it.
#[derive(Clone, Debug)]
struct BannerListener {
    address: ListenAddress,
    has_tls: bool,
    asks_clients: bool,
    token_file: Option<PathBuf>,
}

impl BannerListener {
    fn of(address: &ListenAddress, tls: &TlsFiles, token_file: Option<&Path>) -> Self {
        Self {
            address: address.clone(),
            has_tls: tls.certificate.is_some(),
            asks_clients: tls.client_ca.is_some(),
            token_file: token_file.map(Path::to_owned),
        }
    }

    /// Returns what the listener asks of clients.
    fn requirements(&self) -> String {
        let tls = match (self.has_tls, self.asks_clients) {
            (false, _) => "",
            (true, false) => "; TLS",
            (true, true) => "; TLS with a certificate of the client",
        };
        let token = if self.token_file.is_some() { "; a token" } else { "" };
        format!("{tls}{token}")
    }

    /// Returns a grpcurl call for a shell. `request` must not contain single quotes. The client's certificate files have
    /// placeholder names, because the sidecar does not know where they are.
    fn grpcurl(&self, method: &str, request: &str) -> String {
        let (socket, target) = match self.address.as_seen_from_here() {
            // By default, grpcurl sends the socket's path as the authority, which HTTP/2 does not allow.
            ListenAddress::Unix(path) => ("-unix -authority localhost ", path.display().to_string()),
            address @ ListenAddress::Tcp { .. } => ("", address.to_string()),
        };
        let security = match (self.has_tls, self.asks_clients) {
            (false, _) => "-plaintext",
            (true, false) => "-cacert CA.pem",
            (true, true) => "-cacert CA.pem -cert CLIENT.pem -key CLIENT.key",
        };
        let token = self.token_file.as_ref().map_or_else(String::new, |file| {
            format!("-H \"authorization: Bearer $(cat '{}')\" ", file.display().to_string().replace('\'', r"'\''"))
        });
        format!("  grpcurl {security} {token}{socket}-d '{request}' {target} tollgate.v1.{method}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Id;

    fn banner(teams: StoreTeams) -> StartupBanner {
        StartupBanner {
            listen: BannerListener::of(&"127.0.0.1:50051".parse().unwrap(), &TlsFiles::default(), None),
            admin: BannerListener::of(&"unix:/run/admin.sock".parse().unwrap(), &TlsFiles::default(), None),
            probe: None,
            store: "memory".to_owned(),
            durability: "nothing survives this process".to_owned(),
            teams,
        }
    }

    #[test]
    fn the_banner_suggests_demo_teams() {
        let lines = banner(StoreTeams::Demo).to_string();
        assert!(lines.contains("demo-free (free, no seat), demo-basic (basic, a paid seat), demo-pro"), "{lines}");
        assert_eq!(lines.matches("grpcurl").count(), 3, "{lines}");
        assert!(lines.contains("memory (nothing survives this process)"), "{lines}");
        assert!(lines.contains("127.0.0.1:50051 tollgate.v1.QuotaService/Commit"), "{lines}");
        assert!(lines.contains("-plaintext -unix -authority localhost -d"), "{lines}");
        assert!(lines.contains("/run/admin.sock tollgate.v1.UsageService/GetUsage"), "{lines}");
    }

    #[test]
    fn suggested_calls_have_what_the_listener_asks_for() {
        let file = || Some(PathBuf::from("it's"));
        let mutual = TlsFiles { certificate: file(), key: file(), client_ca: file() };
        let server = TlsFiles { client_ca: None, ..mutual.clone() };
        let address = "127.0.0.1:1".parse().unwrap();
        let listen = BannerListener::of(&address, &mutual, None);
        let admin = BannerListener::of(&address, &server, file().as_deref());
        let lines = StartupBanner { listen, admin, ..banner(StoreTeams::Demo) }.to_string();
        assert!(lines.contains("(QuotaService; TLS with a certificate of the client)"), "{lines}");
        assert!(lines.contains("UsageService; TLS; a token)"), "{lines}");
        assert!(lines.contains("grpcurl -cacert CA.pem -cert CLIENT.pem -key CLIENT.key -d"), "{lines}");
        let token = r#"grpcurl -cacert CA.pem -H "authorization: Bearer $(cat 'it'\''s')" -d"#;
        assert!(lines.contains(token) && !lines.contains("-plaintext"), "{lines}");
    }

    #[test]
    fn an_existing_team_is_suggested_instead_of_demo_teams() {
        let lines = banner(StoreTeams::Existing(Id::parse("acme").unwrap())).to_string();
        assert!(!lines.contains("demo"), "{lines}");
        assert!(lines.contains(r#"{"team_id":"acme","reservation_id":"first"}"#), "{lines}");
        assert!(banner(StoreTeams::None).to_string().contains("AccountService/PutTeam"));
    }
}
