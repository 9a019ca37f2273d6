//! Where a sidecar is for a client of this program, and how one connects to it: over TCP, or a socket in the file system.
//!
//! Shared by the commands that call a sidecar. It must not know what they call.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;
use tonic::transport::{Channel, Endpoint, Error};

/// Where a listener is: `host:port`, `http://host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// The text is no address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected host:port, http://host:port or unix:/path")]
pub struct InvalidAddress;

impl Address {
    /// Connects, within this time.
    ///
    /// # Errors
    /// If nobody answers there in time.
    pub async fn connect(&self, within: Duration) -> Result<Channel, Error> {
        Endpoint::from_shared(self.0.clone())?.connect_timeout(within).connect().await
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(address: &str) -> Result<Self, InvalidAddress> {
        let uri = match address {
            plain if plain.starts_with("unix:") || plain.starts_with("http://") => plain.to_owned(),
            plain if plain.contains("://") => return Err(InvalidAddress),
            plain => format!("http://{plain}"),
        };
        Endpoint::from_shared(uri.clone()).map_err(|_| InvalidAddress)?;
        Ok(Self(uri))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.trim_start_matches("http://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_a_host_and_port_or_a_socket() {
        for address in ["127.0.0.1:50051", "http://127.0.0.1:50051", "[::1]:50051", "localhost:1", "unix:/run/t.sock"] {
            address.parse::<Address>().unwrap();
        }
        for address in ["https://example.com", "redis://127.0.0.1", "not an address"] {
            address.parse::<Address>().unwrap_err();
        }
    }
}
