//! Where to listen, as an operator writes it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// On a port of this machine.
    Tcp {
        /// A name, or an IP address: without brackets, if it is one of version 6.
        host: String,
        /// 0 is any free port.
        port: u16,
    },
    /// On a socket in the file system, for this user only.
    Unix(PathBuf),
}

/// The text is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an address is `host:port` (127.0.0.1:50051, [::1]:50051) or `unix:/path/of/socket`")]
pub struct InvalidAddress;

impl ListenAddress {
    /// Whether other machines could reach it, as far as the text tells: a name is asked for only when it is listened on.
    pub fn is_beyond_this_machine(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.parse().is_ok_and(|ip: IpAddr| !ip.to_canonical().is_loopback()),
            Self::Unix(_) => false,
        }
    }

    /// The address that a client of this machine uses: an address that means every interface is not one.
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
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(InvalidAddress) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().map_err(|_| InvalidAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_version_6 = host.parse::<Ipv6Addr>().is_ok();
        if host.is_empty() || is_version_6 != bracketed.is_some() || host.contains(['/', ' ']) {
            return Err(InvalidAddress);
        }
        if !is_version_6 && host.contains(':') {
            return Err(InvalidAddress);
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
    fn an_address_is_shown_as_it_was_written() {
        for text in ["127.0.0.1:50051", "localhost:0", "[::1]:50051", "unix:/run/tollgate.sock", "unix:relative.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "50051", ":50051", "localhost", "localhost:", "h:65536", "::1:50051", "[h]:1", "unix:", "a:b:1"]
        {
            assert_eq!(text.parse::<ListenAddress>(), Err(InvalidAddress), "{text}");
        }
    }

    #[test]
    fn an_address_of_every_interface_is_seen_as_this_machine() {
        for (text, seen) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().as_seen_from_here().to_string(), seen);
        }
    }
}
