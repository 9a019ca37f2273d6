//! A bound listener, on a port or a socket, that accepts connections.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;

use super::unix_socket::UnixSocket;
use crate::{
    address::ListenAddress,
    clock::Clock,
    serve::{access::Tls, connections::Accepted, error::ListenError, log_throttle::LogThrottle},
};

/// How long to wait before accepting again when the system could not, as when this process has no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Who may be able to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Reach {
    /// Nobody on another machine.
    ThisMachine,
    /// Whoever the address lets in.
    Anywhere,
}

/// A bound listener.
#[derive(Debug)]
pub(in crate::serve) struct Listener {
    address: ListenAddress,
    socket: Socket,
    tls: Option<Tls>,
    clock: Clock,
    failed: LogThrottle,
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
        Ok(Self { address, socket, tls: None, clock: Clock::default(), failed: LogThrottle::default() })
    }

    /// The same with TLS, if there is any.
    pub(in crate::serve) fn speaking(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Says so if other machines can reach it, and nobody asks them who they are.
    pub(in crate::serve) fn warn_of_strangers(&self) {
        if !self.address.is_beyond_this_machine() || self.tls.as_ref().is_some_and(Tls::asks_clients) {
            return;
        }
        let lack = if self.tls.is_some() { "no certificates of clients are asked for" } else { "there is no TLS" };
        tracing::warn!(
            "other machines can reach {}, and {lack}: let only executors through to it, set its TLS settings, or listen on \
             127.0.0.1 or unix:/path",
            self.address
        );
    }

    /// Where it listens: with the port that was bound, if any port would do.
    pub(in crate::serve) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The next connection.
    pub(in crate::serve) async fn accept(&self) -> Accepted {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => self.accept_tcp(listener).await,
                Socket::Unix(socket) => socket.accept().await.map(Accepted::unix),
            };
            match accepted {
                Ok(accepted) => return accepted,
                // What a client did before it was let in keeps nobody else waiting.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    if let Some(times) = self.failed.happened(&self.clock) {
                        tracing::warn!(%error, times, address = %self.address, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn accept_tcp(&self, listener: &TcpListener) -> io::Result<Accepted> {
        let (stream, peer) = listener.accept().await?;
        Ok(Accepted::tcp(stream, peer, self.tls.as_ref().map(Tls::handshake)))
    }
}

/// Binds a port. A name is asked for once, so that what is judged is what is bound.
async fn bind_port(address: &ListenAddress, host: &str, port: u16, reach: Reach) -> Result<TcpListener, ListenError> {
    let refused = |source| ListenError::refused(address, source);
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(refused)?.collect();
    if reach == Reach::ThisMachine && !found.iter().all(is_of_this_machine) {
        return Err(ListenError::BeyondThisMachine(address.clone()));
    }
    TcpListener::bind(found.as_slice()).await.map_err(refused)
}

/// Whether nobody on another machine can connect. An address that means every interface is not such a one.
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
    async fn a_taken_port_is_told_as_such() {
        let first = bind("127.0.0.1:0", Reach::ThisMachine).await.unwrap();
        let refused = Listener::bind(first.address(), Reach::ThisMachine).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
    }

    #[tokio::test]
    async fn an_address_that_others_could_reach_is_refused_where_only_this_machine_may() {
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
