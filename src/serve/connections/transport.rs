//! The bytes of one connection: TCP, TLS, or a Unix domain socket. They tell its state whether the preface has come, and whether
//! the client reads.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::connection_state::ConnectionState;
use crate::{serve::access::Handshake, service::Caller};

/// Maximum number of bytes, some ten calls, that are read before their responses are sent. Clients then work on these responses
/// while the next calls are answered, instead of all waiting for the last one.
const READ_BYTES: usize = 2_048;

/// A connection that was accepted.
pub(in crate::serve) struct Accepted {
    transport: Transport,
    caller: Caller,
    /// The TLS handshake that comes first, if the listener has TLS.
    handshake: Option<Handshake>,
}

/// An accepted connection that updates its state as bytes pass.
pub(in crate::serve) struct Connection {
    transport: Transport,
    state: Arc<ConnectionState>,
    has_preface: bool,
    /// The next read is put off until what was read before is answered.
    has_read_enough: bool,
}

enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Accepted {
    pub(in crate::serve) fn tcp(stream: TcpStream, peer: SocketAddr, handshake: Option<Handshake>) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send without delay on a connection");
        }
        Self { transport: Transport::Tcp(stream), caller: Caller::new(peer.to_string()), handshake }
    }

    pub(in crate::serve) fn unix(stream: UnixStream) -> Self {
        let caller = match stream.peer_cred() {
            Ok(peer) => {
                let process = peer.pid().map_or_else(|| "unknown".to_owned(), |process| process.to_string());
                format!("unix:pid={process},uid={}", peer.uid())
            }
            Err(_) => "unix".to_owned(),
        };
        Self { transport: Transport::Unix(stream), caller: Caller::new(caller), handshake: None }
    }

    /// Completes the TLS handshake, if there is one. The caller then has the name that its certificate gives. Returns `None` if
    /// the handshake fails.
    pub(in crate::serve) async fn handshaken(self) -> Option<Self> {
        let (stream, handshake) = match (self.transport, self.handshake) {
            (Transport::Tcp(stream), Some(handshake)) => (stream, handshake),
            (transport, _) => return Some(Self { transport, caller: self.caller, handshake: None }),
        };
        let client = handshake.accept(stream, &self.caller).await?;
        let caller = match client.name {
            // The name comes last, because it may contain commas.
            Some(name) => Caller::new(format!("tls:peer={},name={name}", self.caller)),
            None => self.caller,
        };
        let caller = caller.with_teams(client.teams);
        Some(Self { transport: Transport::Tls(client.stream), caller, handshake: None })
    }

    /// Returns who is at the other end.
    pub(in crate::serve) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the connection, which updates this state from now on.
    pub(in crate::serve) fn with_state(self, state: Arc<ConnectionState>) -> Connection {
        Connection { transport: self.transport, state, has_preface: false, has_read_enough: false }
    }
}

impl Connection {
    /// Records whether the client reads what is sent. TLS buffers some of it, so with TLS only a pending write
    /// or a flush counts, and a completed write does not.
    fn record<T>(&self, sent: Poll<io::Result<T>>, is_flush: bool) -> Poll<io::Result<T>> {
        let is_known = match self.transport {
            Transport::Tls(_) => is_flush || sent.is_pending(),
            Transport::Tcp(_) | Transport::Unix(_) => !is_flush,
        };
        if is_known {
            self.state.set_blocked(sent.is_pending());
        }
        sent
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream),
            Transport::Tls(stream) => Pin::new(stream),
            Transport::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_read_enough) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ_BYTES.min(buffer.remaining())));
        let read = match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, &mut part),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, &mut part),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, &mut part),
        };
        let length = part.filled().len();
        self.has_read_enough = length == READ_BYTES;
        if !self.has_preface {
            self.has_preface = self.state.read_preface(part.filled());
        }
        buffer.advance(length);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.writer().poll_write(context, bytes);
        self.record(written, false)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.writer().poll_flush(context);
        self.record(flushed, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }

    // Vectored writes are not offered. Without them h2 copies responses of up to 1 KiB into one buffer and sends many of them
    // with one system call. With them, each response of more than 256 bytes would take a system call of its own.
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn the_audit_stream_names_the_process_behind_a_socket() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let accepted = Accepted::unix(ours);
        let uid = std::fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(accepted.caller().as_str(), format!("unix:pid={},uid={uid}", std::process::id()));
    }
}
