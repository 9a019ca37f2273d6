//! Access control: TLS of each listener, the token of the admin listener, and which client may ask for which teams.
//!
//! This module finds settings that contradict each other, reads the files that they name, and reads them again when they change.
//! It must not know what a call asks for.

mod clients;
mod error;
mod identity;
mod reloaded;
mod tls;
mod token;

use std::{path::PathBuf, sync::Arc};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

pub use self::{clients::Clients, error::AccessError};
use self::{reloaded::Reloaded, tls::TlsConfig};
pub(super) use self::{
    tls::{Handshake, Tls},
    token::Token,
};
use crate::{address::ListenAddress, clock::Clock};

/// The access settings. What is not set does not restrict access: every client that can connect may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// TLS of the data listener.
    pub listen_tls: TlsFiles,
    /// TLS of the admin listener.
    pub admin_tls: TlsFiles,
    /// File with the token that calls of the admin listener need.
    pub admin_token_file: Option<PathBuf>,
    /// The teams that each client of the data listener may ask for. `None` means all teams for every client.
    pub clients: Option<Clients>,
}

/// The files of a listener with TLS, each in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// File with the listener's certificate and its intermediate certificates.
    pub certificate: Option<PathBuf>,
    /// File with the private key of the certificate.
    pub key: Option<PathBuf>,
    /// File with the authorities of clients. If it is set, every client needs a certificate from one of them.
    pub client_ca: Option<PathBuf>,
}

impl Access {
    /// Returns the contradictions between the settings: the setting to change, and the problem.
    pub fn contradictions(&self, listen: &ListenAddress, admin: &ListenAddress) -> Vec<(&'static str, String)> {
        let mut found = self.listen_tls.contradictions(ListenerSide::Listen, listen);
        found.extend(self.admin_tls.contradictions(ListenerSide::Admin, admin));
        if self.clients.is_some() && self.listen_tls.client_ca.is_none() {
            let sentence =
                "needs listen_tls_client_ca; without client certificates the sidecar cannot identify clients";
            found.push(("clients", sentence.to_owned()));
        }
        found
    }

    /// Returns whether other machines may reach the admin listener.
    pub fn lets_admin_beyond_this_machine(&self) -> bool {
        self.admin_tls.certificate.is_some() && self.admin_token_file.is_some()
    }
}

/// The listener that files belong to.
#[derive(Clone, Copy, Debug)]
enum ListenerSide {
    Listen,
    Admin,
}

impl ListenerSide {
    /// Returns the names of its settings: certificate, key and client authorities.
    fn settings(self) -> [&'static str; 3] {
        match self {
            Self::Listen => ["listen_tls_certificate", "listen_tls_key", "listen_tls_client_ca"],
            Self::Admin => ["admin_tls_certificate", "admin_tls_key", "admin_tls_client_ca"],
        }
    }
}

impl TlsFiles {
    fn contradictions(&self, side: ListenerSide, address: &ListenAddress) -> Vec<(&'static str, String)> {
        let [certificate, key, client_ca] = side.settings();
        let given = [
            (certificate, self.certificate.is_some()),
            (key, self.key.is_some()),
            (client_ca, self.client_ca.is_some()),
        ];
        let Some((first, _)) = given.into_iter().find(|(_, is_given)| *is_given) else { return Vec::new() };
        if let ListenAddress::Unix(_) = address {
            let sentence =
                format!("is for a listener on host:port, and {address} is a socket, which only its user can open");
            return vec![(first, sentence)];
        }
        let missing = given.into_iter().take(2).filter(|(_, is_given)| !is_given);
        missing.map(|(missing, _)| (first, format!("needs {missing} too"))).collect()
    }
}

/// The token that calls have to send, which follows its file.
pub(super) type TokenGuard = Arc<Reloaded<Token>>;

/// The access settings with their files read, which follow the files.
pub(super) struct LoadedAccess {
    pub(super) data_tls: Option<Tls>,
    pub(super) admin_tls: Option<Tls>,
    pub(super) admin_token: Option<TokenGuard>,
}

impl LoadedAccess {
    /// Reads the files that the settings name.
    pub(super) async fn read(
        access: &Access,
        [listen, admin]: [&ListenAddress; 2],
        clock: &Clock,
    ) -> Result<Self, AccessError> {
        if let Some((setting, sentence)) = access.contradictions(listen, admin).into_iter().next() {
            return Err(AccessError::Contradiction { setting, sentence });
        }
        let clients = access.clients.clone().map(Arc::new);
        Ok(Self {
            data_tls: tls::read(&access.listen_tls, ListenerSide::Listen.settings(), clients, clock).await?,
            admin_tls: tls::read(&access.admin_tls, ListenerSide::Admin.settings(), None, clock).await?,
            admin_token: match &access.admin_token_file {
                Some(file) => Some(token::read(file.clone()).await?),
                None => None,
            },
        })
    }

    /// Reads changed files again, until `stop` is cancelled.
    pub(super) fn reload_changed_files(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let tls = [&self.data_tls, &self.admin_tls].into_iter().flatten().map(|tls: &Tls| tls.config());
        let tls: Vec<Arc<Reloaded<TlsConfig>>> = tls.collect();
        let token = self.admin_token.clone();
        async move {
            let work = async {
                tokio::join!(
                    join_all(tls.iter().map(|config| config.reload_on_change())),
                    join_all(token.iter().map(|token| token.reload_on_change()))
                )
            };
            // Without files to watch, it waits all the same, because its end would count as a failure of the sidecar.
            tokio::select! {
                () = stop.cancelled() => {}
                () = async { work.await; std::future::pending::<()>().await } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_name_the_setting_to_change() {
        let file = || Some(PathBuf::from("f"));
        let pair = || TlsFiles { certificate: file(), key: file(), client_ca: None };
        let (port, socket) = ("127.0.0.1:1".parse().unwrap(), "unix:/s".parse().unwrap());
        let keys = |access: Access, listen: &ListenAddress| {
            let found = access.contradictions(listen, &port);
            found.into_iter().map(|(key, sentence)| format!("{key} {sentence}")).collect::<Vec<_>>().join("; ")
        };
        let listen = |listen_tls: TlsFiles| Access { listen_tls, ..Access::default() };
        assert_eq!(keys(Access::default(), &port), "");
        assert_eq!(keys(listen(pair()), &port), "");
        let no_key = keys(listen(TlsFiles { certificate: file(), ..TlsFiles::default() }), &port);
        assert_eq!(no_key, "listen_tls_certificate needs listen_tls_key too");
        let only_ca = keys(listen(TlsFiles { client_ca: file(), ..TlsFiles::default() }), &port);
        assert_eq!(
            only_ca,
            "listen_tls_client_ca needs listen_tls_certificate too; listen_tls_client_ca needs listen_tls_key too"
        );
        assert!(keys(listen(pair()), &socket).starts_with("listen_tls_certificate is for a listener on host:port"));
        let admin = Access { admin_tls: TlsFiles { key: file(), ..TlsFiles::default() }, ..Access::default() };
        assert_eq!(keys(admin, &port), "admin_tls_key needs admin_tls_certificate too");
        let clients = Access { clients: Some(Clients::default()), ..listen(pair()) };
        assert!(keys(clients, &port).starts_with("clients needs listen_tls_client_ca"));
    }
}
