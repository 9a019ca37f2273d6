//! Addresses that a sidecar listens on, as an operator writes them. Listeners, clients and the configuration share this type.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

/// An address to listen on: `host:port` or `unix:/path/of/socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// Host name or IP address. An IPv6 address stands here without brackets.
        host: String,
        /// Port number; 0 means any free port.
        port: u16,
    },
    /// A Unix domain socket at this path, which only the user of the process can open.
    Unix(PathBuf),
}

/// The text is not an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an address is `host:port` (127.0.0.1:50051, [::1]:50051) or `unix:/path/of/socket`")]
pub struct InvalidListenAddress;

impl ListenAddress {
    /// Returns whether other machines can connect. A host name counts as local here: it is resolved only when it is bound.
    pub fn is_beyond_this_machine(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.parse().is_ok_and(|ip: IpAddr| !ip.to_canonical().is_loopback()),
            Self::Unix(_) => false,
        }
    }

    /// Returns the address that a client on this machine connects to: the unspecified address (`0.0.0.0` or `::`) becomes the
    /// loopback address.
    pub fn as_seen_from_here(&self) -> Self {
        match self {
            Self::Tcp { host, port } if host.parse() == Ok(Ipv4Addr::UNSPECIFIED) => {
                Self::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: *port }
            }
            Self::Tcp { host, port } if host.parse() == Ok(Ipv6Addr::UNSPECIFIED) => {
                Self::Tcp { host: Ipv6Addr::LOCALHOST.to_string(), port: *port }
            }
            other => other.clone(),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(InvalidListenAddress) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddress)?;
        let port = port.parse().map_err(|_| InvalidListenAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_version_6 = host.parse::<Ipv6Addr>().is_ok();
        if host.is_empty() || is_version_6 != bracketed.is_some() || host.contains(['/', ' ']) {
            return Err(InvalidListenAddress);
        }
        if !is_version_6 && host.contains(':') {
            return Err(InvalidListenAddress);
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_was_written() {
        for text in ["127.0.0.1:50051", "localhost:0", "[::1]:50051", "unix:/run/tollgate.sock", "unix:relative.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in
            ["", "50051", ":50051", "localhost", "localhost:", "h:65536", "::1:50051", "[h]:1", "unix:", "a:b:1"]
        {
            assert_eq!(text.parse::<ListenAddress>(), Err(InvalidListenAddress), "{text}");
        }
    }

    #[test]
    fn clients_reach_an_unspecified_address_by_loopback() {
        for (text, seen) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().as_seen_from_here().to_string(), seen);
        }
    }
}
