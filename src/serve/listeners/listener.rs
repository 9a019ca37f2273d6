//! A bound listener on a TCP port or a Unix domain socket, which accepts connections.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;

use super::unix_socket::UnixSocket;
use crate::{
    address::ListenAddress,
    clock::Clock,
    serve::{access::Tls, connections::Accepted, error::ListenError, log_throttle::LogThrottle},
};

/// Pause after accepting failed, for example because this process has no file descriptor left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Which machines may be able to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Reach {
    /// This machine only: an address that other machines could reach is refused.
    ThisMachine,
    /// Any machine that can reach the address.
    Anywhere,
}

/// A bound listener.
#[derive(Debug)]
pub(in crate::serve) struct Listener {
    address: ListenAddress,
    socket: Socket,
    tls: Option<Tls>,
    clock: Clock,
    accept_log: LogThrottle,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Listener {
    pub(in crate::serve) async fn bind(address: &ListenAddress, reach: Reach) -> Result<Self, ListenError> {
        let (address, socket) = match address {
            ListenAddress::Tcp { host, port } => {
                let listener = bind_port(address, host, *port, reach).await?;
                let bound = listener.local_addr().map_err(|source| ListenError::refused(address, source))?;
                (bound.into(), Socket::Tcp(listener))
            }
            ListenAddress::Unix(path) => (address.clone(), Socket::Unix(UnixSocket::bind(address, path).await?)),
        };
        Ok(Self { address, socket, tls: None, clock: Clock::default(), accept_log: LogThrottle::default() })
    }

    /// Returns the listener with TLS, if there is any.
    pub(in crate::serve) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Logs a warning if other machines can reach the listener and it does not ask for their certificates.
    pub(in crate::serve) fn warn_if_open(&self) {
        if !self.address.is_beyond_this_machine() || self.tls.as_ref().is_some_and(Tls::asks_clients) {
            return;
        }
        let missing = if self.tls.is_some() { "client certificates" } else { "TLS" };
        tracing::warn!(
            address = %self.address,
            missing,
            "other machines can reach this listener; set its TLS settings, let only executors connect, or listen on 127.0.0.1 or \
             unix:/path"
        );
    }

    /// Returns the address, with the port that was bound if the configured port is 0.
    pub(in crate::serve) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Waits for the next connection.
    pub(in crate::serve) async fn accept(&self) -> Accepted {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => self.accept_tcp(listener).await,
                Socket::Unix(socket) => socket.accept().await.map(Accepted::unix),
            };
            match accepted {
                Ok(accepted) => return accepted,
                // The client gave up before it was accepted. Other clients do not have to wait for that.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    if let Some(times) = self.accept_log.record(&self.clock) {
                        tracing::warn!(%error, times, address = %self.address, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    async fn accept_tcp(&self, listener: &TcpListener) -> io::Result<Accepted> {
        let (stream, peer) = listener.accept().await?;
        Ok(Accepted::tcp(stream, peer, self.tls.as_ref().map(Tls::handshake)))
    }
}

/// Binds a TCP port. A host name is resolved once, so that the addresses that were checked are those that are bound.
async fn bind_port(address: &ListenAddress, host: &str, port: u16, reach: Reach) -> Result<TcpListener, ListenError> {
    let refused = |source| ListenError::refused(address, source);
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(refused)?.collect();
    if reach == Reach::ThisMachine && !found.iter().all(is_of_this_machine) {
        return Err(ListenError::BeyondThisMachine(address.clone()));
    }
    TcpListener::bind(found.as_slice()).await.map_err(refused)
}

/// Returns whether only this machine can connect. The unspecified address, which means every interface, is not such an address.
fn is_of_this_machine(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bind(address: &str, reach: Reach) -> Result<Listener, ListenError> {
        Listener::bind(&address.parse().unwrap(), reach).await
    }

    #[tokio::test]
    async fn a_taken_port_is_reported() {
        let first = bind("127.0.0.1:0", Reach::ThisMachine).await.unwrap();
        let refused = Listener::bind(first.address(), Reach::ThisMachine).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
    }

    #[tokio::test]
    async fn an_address_beyond_this_machine_is_refused() {
        for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0", "192.0.2.1:0"] {
            let refused = bind(address, Reach::ThisMachine).await.unwrap_err();
            assert!(matches!(refused, ListenError::BeyondThisMachine(_)), "{refused}");
        }
        for address in ["127.0.0.1:0", "127.1.2.3:0", "localhost:0"] {
            bind(address, Reach::ThisMachine).await.unwrap();
        }
        bind("0.0.0.0:0", Reach::Anywhere).await.unwrap();
    }
}
