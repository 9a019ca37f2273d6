//! Addresses of sidecars, and connections to them: over TCP, with or without TLS, or over a Unix socket.
//!
//! All commands that call a sidecar use this module. It must not know which rpcs they call.

mod security;

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Error},
};

pub use self::security::{Security, SecurityArguments, SecurityError};
use crate::address::ListenAddress;

/// The address of one of a sidecar's listeners: `host:port`, `https://host:port`, `http://host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarAddress(String);

/// The error for a text that is not the address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected host:port, https://host:port, http://host:port or unix:/path")]
pub struct InvalidSidecarAddress;

/// A listener's address, with the certificates and the token that its calls need.
#[derive(Clone, Debug)]
pub struct SidecarEndpoint {
    address: SidecarAddress,
    uri: String,
    security: Security,
}

impl SidecarAddress {
    /// Combines the address with the means to call it. If the address names no scheme, TLS is used exactly if `security` has
    /// trusted authorities.
    ///
    /// # Errors
    /// Fails if the address requires TLS without trusted authorities, or if a token would leave this machine without TLS.
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
        let endpoint = SidecarEndpoint { address: self, uri, security };
        if endpoint.security.has_token() && !endpoint.has_tls() && endpoint.is_remote() {
            return Err(SecurityError::TokenWithoutTls(endpoint.address));
        }
        Ok(endpoint)
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
    /// Connects to the listener.
    ///
    /// # Errors
    /// Fails if the connection, with its TLS handshake, is not established within the timeout.
    pub async fn connect(&self, timeout: Duration) -> Result<Channel, Error> {
        let endpoint = Endpoint::from_shared(self.uri.clone())?.connect_timeout(timeout);
        let endpoint = match self.security.tls() {
            Some(tls) if self.has_tls() => endpoint.tls_config(tls.clone())?,
            _ => endpoint,
        };
        endpoint.connect().await
    }

    /// Adds the token, if there is one, to a request.
    pub fn sign<T>(&self, request: &mut Request<T>) {
        self.security.sign(request);
    }

    /// Returns whether the connection uses TLS.
    pub fn has_tls(&self) -> bool {
        self.uri.starts_with("https://")
    }

    /// Returns whether the listener may be on another machine.
    fn is_remote(&self) -> bool {
        let address = self.uri.trim_start_matches("http://");
        address.parse().is_ok_and(|address: ListenAddress| match &address {
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
    fn a_sidecar_address_is_host_and_port_or_a_socket() {
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
    fn tls_is_used_with_authorities_unless_the_scheme_is_http() {
        let uri = |address: &str, security: &Security| {
            let endpoint = address.parse::<SidecarAddress>().unwrap().with(security.clone());
            endpoint.map(|endpoint| endpoint.uri).map_err(|error| error.to_string())
        };
        let (with, without) = (Security::for_tests(true, false), Security::default());
        assert_eq!(uri("h:1", &with).unwrap(), "https://h:1");
        assert_eq!(uri("h:1", &without).unwrap(), "http://h:1");
        assert_eq!(uri("http://h:1", &with).unwrap(), "http://h:1");
        assert_eq!(uri("unix:/s", &with).unwrap(), "unix:/s");
        assert!(uri("https://h:1", &without).unwrap_err().contains("--tls-ca"));
    }

    #[test]
    fn a_token_leaves_this_machine_over_tls_only() {
        let signed = |address: &str, tls| {
            address.parse::<SidecarAddress>().unwrap().with(Security::for_tests(tls, true)).is_ok()
        };
        for address in ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/s"] {
            assert!(signed(address, false), "{address}");
        }
        for address in ["10.0.0.1:1", "http://tollgate.example:1"] {
            assert!(!signed(address, false), "{address}");
        }
        assert!(signed("10.0.0.1:1", true));
    }
}
