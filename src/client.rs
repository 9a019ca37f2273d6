//! Where a sidecar is for a client of this program, and how one connects to it: over TCP, with TLS or without, or a socket in the
//! file system.
//!
//! Shared by the commands that call a sidecar. It must not know what they call.

mod security;

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Error},
};

pub use self::security::{Security, SecurityArguments, SecurityError};
use crate::address::ListenAddress;

/// Where a listener is: `host:port`, `https://host:port`, `http://host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarAddress(String);

/// The text is no address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected host:port, https://host:port, http://host:port or unix:/path")]
pub struct InvalidSidecarAddress;

/// A listener, and what it takes to call it.
#[derive(Clone, Debug)]
pub struct SidecarEndpoint {
    address: SidecarAddress,
    uri: String,
    security: Security,
}

impl SidecarAddress {
    /// The listener there. Where the address does not say whether it speaks TLS, it does if authorities were named.
    ///
    /// # Errors
    /// If the address and what it takes do not fit together.
    pub fn with(self, security: Security) -> Result<SidecarEndpoint, SecurityError> {
        let Self(text) = &self;
        let uri = match text.contains("://") || text.starts_with("unix:") {
            true => text.clone(),
            false if security.has_tls() => format!("https://{text}"),
            false => format!("http://{text}"),
        };
        if uri.starts_with("https://") && !security.has_tls() {
            return Err(SecurityError::NoAuthority(self));
        }
        let listener = SidecarEndpoint { address: self, uri, security };
        if listener.security.has_token() && !listener.has_tls() && listener.is_elsewhere() {
            return Err(SecurityError::TokenInTheOpen(listener.address));
        }
        Ok(listener)
    }
}

impl FromStr for SidecarAddress {
    type Err = InvalidSidecarAddress;

    fn from_str(address: &str) -> Result<Self, InvalidSidecarAddress> {
        let uri = match address {
            whole if ["unix:", "http://", "https://"].iter().any(|scheme| whole.starts_with(scheme)) => {
                whole.to_owned()
            }
            plain if plain.contains("://") => return Err(InvalidSidecarAddress),
            plain => format!("http://{plain}"),
        };
        Endpoint::from_shared(uri).map_err(|_| InvalidSidecarAddress)?;
        Ok(Self(address.to_owned()))
    }
}

impl fmt::Display for SidecarAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.trim_start_matches("http://"))
    }
}

impl SidecarEndpoint {
    /// Connects, within this time.
    ///
    /// # Errors
    /// If nobody answers there in time, or not as it should.
    pub async fn connect(&self, within: Duration) -> Result<Channel, Error> {
        let endpoint = Endpoint::from_shared(self.uri.clone())?.connect_timeout(within);
        let endpoint = match self.security.tls() {
            Some(tls) if self.has_tls() => endpoint.tls_config(tls.clone())?,
            _ => endpoint,
        };
        endpoint.connect().await
    }

    /// Adds the token to a request, if there is one.
    pub fn sign<T>(&self, request: &mut Request<T>) {
        self.security.sign(request);
    }

    /// Whether it is called by TLS.
    pub fn has_tls(&self) -> bool {
        self.uri.starts_with("https://")
    }

    fn is_elsewhere(&self) -> bool {
        let place = self.uri.trim_start_matches("http://");
        place.parse().is_ok_and(|address: ListenAddress| match &address {
            ListenAddress::Tcp { host, .. } => host != "localhost" && !is_loopback(host),
            ListenAddress::Unix(_) => false,
        })
    }
}

impl fmt::Display for SidecarEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

fn is_loopback(host: &str) -> bool {
    host.parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_a_host_and_port_or_a_socket() {
        for address in [
            "127.0.0.1:50051",
            "http://127.0.0.1:50051",
            "https://127.0.0.1:50051",
            "[::1]:50051",
            "localhost:1",
            "unix:/run/t.sock",
        ] {
            address.parse::<SidecarAddress>().unwrap();
        }
        for address in ["ftp://example.com", "redis://127.0.0.1", "not an address"] {
            address.parse::<SidecarAddress>().unwrap_err();
        }
    }

    #[test]
    fn tls_is_spoken_where_authorities_are_named_unless_the_address_says_otherwise() {
        let uri = |address: &str, security: &Security| {
            let listener = address.parse::<SidecarAddress>().unwrap().with(security.clone());
            listener.map(|listener| listener.uri).map_err(|error| error.to_string())
        };
        let (with, without) = (Security::of_tests(true, false), Security::default());
        assert_eq!(uri("h:1", &with).unwrap(), "https://h:1");
        assert_eq!(uri("h:1", &without).unwrap(), "http://h:1");
        assert_eq!(uri("http://h:1", &with).unwrap(), "http://h:1");
        assert_eq!(uri("unix:/s", &with).unwrap(), "unix:/s");
        assert!(uri("https://h:1", &without).unwrap_err().contains("--tls-ca"));
    }

    #[test]
    fn a_token_leaves_this_machine_by_tls_only() {
        let signed =
            |address: &str, tls| address.parse::<SidecarAddress>().unwrap().with(Security::of_tests(tls, true)).is_ok();
        for address in ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/s"] {
            assert!(signed(address, false), "{address}");
        }
        for address in ["10.0.0.1:1", "http://tollgate.example:1"] {
            assert!(!signed(address, false), "{address}");
        }
        assert!(signed("10.0.0.1:1", true));
    }
}
