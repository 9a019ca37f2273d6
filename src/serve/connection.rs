//! One connection of either kind of listener, which can be ended from here.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::service::Caller;

/// A connection. Once its token is cancelled it reads as if the client had gone, so that whatever waits for it ends.
///
/// tonic waits for every stream of a connection when it shuts down, and a client may hold one open for ever.
pub(super) struct Connection {
    transport: Transport,
    caller: Caller,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    pub(super) fn tcp(stream: TcpStream, peer: SocketAddr, ended: &CancellationToken) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send without delay on a connection");
        }
        Self::new(Transport::Tcp(stream), Caller::new(peer.to_string()), ended)
    }

    pub(super) fn unix(stream: UnixStream, ended: &CancellationToken) -> Self {
        let caller = match stream.peer_cred() {
            Ok(peer) => {
                let process = peer.pid().map_or_else(|| "unknown".to_owned(), |process| process.to_string());
                format!("unix:pid={process},uid={}", peer.uid())
            }
            Err(_) => "unix".to_owned(),
        };
        Self::new(Transport::Unix(stream), Caller::new(caller), ended)
    }

    fn new(transport: Transport, caller: Caller, ended: &CancellationToken) -> Self {
        Self { transport, caller, ended: Box::pin(ended.clone().cancelled_owned()) }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream),
            Transport::Unix(stream) => Pin::new(stream),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Unix(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn the_audit_stream_names_the_process_behind_a_socket() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let connection = Connection::unix(ours, &CancellationToken::new());
        let uid = std::fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(connection.connect_info().as_str(), format!("unix:pid={},uid={uid}", std::process::id()));
    }
}
