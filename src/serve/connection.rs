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

use super::vitals::Vitals;
use crate::service::Caller;

/// So many bytes are read before the answers to them are sent, some ten calls: so clients have something to do again while others
/// are answered, and nobody waits for the answers of a whole crowd that asked at once.
const READ_AT_ONCE: usize = 2_048;

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    transport: Transport,
    caller: Caller,
}

/// An accepted connection that keeps note of what happens on it.
pub(super) struct Connection {
    transport: Transport,
    vitals: Arc<Vitals>,
    has_greeted: bool,
    /// What was read is looked at, and answered, before more is.
    has_read_enough: bool,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Accepted {
    pub(super) fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send without delay on a connection");
        }
        Self { transport: Transport::Tcp(stream), caller: Caller::new(peer.to_string()) }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        let caller = match stream.peer_cred() {
            Ok(peer) => {
                let process = peer.pid().map_or_else(|| "unknown".to_owned(), |process| process.to_string());
                format!("unix:pid={process},uid={}", peer.uid())
            }
            Err(_) => "unix".to_owned(),
        };
        Self { transport: Transport::Unix(stream), caller: Caller::new(caller) }
    }

    /// Who is at the other end.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The connection, with what happens on it noted there.
    pub(super) fn watched(self, vitals: Arc<Vitals>) -> Connection {
        Connection { transport: self.transport, vitals, has_greeted: false, has_read_enough: false }
    }
}

impl Connection {
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.vitals.waits_to_send(written.is_pending());
        written
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream),
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
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
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
