//! The bytes of one connection of either kind of listener, and what they tell of its client.

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

/// So many bytes are read before the answers to them are sent, some ten calls: so clients have something to do again while others
/// are answered, and nobody waits for the answers of a whole crowd that asked at once.
const READ_AT_ONCE: usize = 2_048;

/// A connection that was accepted.
pub(in crate::serve) struct Accepted {
    transport: Transport,
    caller: Caller,
    /// What comes first, where the listener speaks TLS.
    handshake: Option<Handshake>,
}

/// An accepted connection that keeps note of what happens on it.
pub(in crate::serve) struct Connection {
    transport: Transport,
    vitals: Arc<ConnectionState>,
    has_greeted: bool,
    /// What was read is looked at, and answered, before more is.
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

    /// The same once its handshake is done, if there is one: then its caller may be known by name. `None` if that came to nothing.
    pub(in crate::serve) async fn greeted(self) -> Option<Self> {
        let (stream, handshake) = match (self.transport, self.handshake) {
            (Transport::Tcp(stream), Some(handshake)) => (stream, handshake),
            (transport, _) => return Some(Self { transport, caller: self.caller, handshake: None }),
        };
        let greeted = handshake.greet(stream, &self.caller).await?;
        let caller = match greeted.name {
            // The name is last, as it may have commas.
            Some(name) => Caller::new(format!("tls:peer={},name={name}", self.caller)),
            None => self.caller,
        };
        let caller = caller.with_teams(greeted.teams);
        Some(Self { transport: Transport::Tls(greeted.stream), caller, handshake: None })
    }

    /// Who is at the other end.
    pub(in crate::serve) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The connection, with what happens on it noted there.
    pub(in crate::serve) fn watched(self, vitals: Arc<ConnectionState>) -> Connection {
        Connection { transport: self.transport, vitals, has_greeted: false, has_read_enough: false }
    }
}

impl Connection {
    /// Keeps note of whether the client takes what is sent to it. TLS takes some of it before the client does, so there only
    /// what is not even taken, or was not sent when all of it should be, says something.
    fn note<T>(&self, sent: Poll<io::Result<T>>, is_flush: bool) -> Poll<io::Result<T>> {
        let is_told = match self.transport {
            Transport::Tls(_) => is_flush || sent.is_pending(),
            Transport::Tcp(_) | Transport::Unix(_) => !is_flush,
        };
        if is_told {
            self.vitals.waits_to_send(sent.is_pending());
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
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ_AT_ONCE.min(buffer.remaining())));
        let read = match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, &mut part),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, &mut part),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, &mut part),
        };
        let length = part.filled().len();
        self.has_read_enough = length == READ_AT_ONCE;
        if !self.has_greeted {
            self.has_greeted = self.vitals.greeted(part.filled());
        }
        buffer.advance(length);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.writer().poll_write(context, bytes);
        self.note(written, false)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.writer().poll_flush(context);
        self.note(flushed, true)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }

    // Vectored writes are not offered: h2 then copies answers of up to 1 KiB behind each other and sends many with one system call,
    // where with them each answer of more than 256 bytes is one by itself.
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
