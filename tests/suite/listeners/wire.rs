//! HTTP/2 by hand: bytes that no well-behaved client sends, and calls whose parts the test sends one by one.

use std::{io, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tonic::Status;

use crate::suite::support::WAIT_TIMEOUT_MS;

const WAIT_TIMEOUT: Duration = Duration::from_millis(WAIT_TIMEOUT_MS as u64);

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags, as RFC 9113 numbers them.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Returns a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Returns what a client sends first: the preface and a SETTINGS frame.
pub(super) fn preface() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Returns the preface of a client whose window for response bodies is zero.
pub(super) fn preface_without_window() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
}

/// Returns the headers of a call, encoded in the simplest way.
pub(super) fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "localhost");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    block
}

/// Returns a message with its gRPC prefix.
pub(super) fn message(message: &impl Message) -> Bytes {
    framed(0, &message.encode_to_vec())
}

/// Returns bytes with a gRPC prefix.
pub(super) fn framed(flag: u8, bytes: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(bytes.len()).unwrap());
    framed.put_slice(bytes);
    framed.freeze()
}

/// A connection that sends the bytes that a test gives it.
pub(super) struct Wire(TcpStream);

impl Wire {
    pub(super) async fn connect(address: &str) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Connects and sends the preface.
    pub(super) async fn open(address: &str) -> Self {
        let mut wire = Self::connect(address).await;
        wire.send(&preface()).await.unwrap();
        wire
    }

    /// Sends bytes, or fails if the sidecar does not read them in time.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(WAIT_TIMEOUT, self.0.write_all(bytes)).await?
    }

    /// Sends bytes repeatedly, until the sidecar closes the connection or stops reading.
    pub(super) async fn send_often(&mut self, bytes: &[u8], times: usize) {
        for _ in 0..times {
            match timeout(Duration::from_millis(200), self.0.write_all(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Sends bytes repeatedly and reads nothing, until the sidecar closes the connection.
    pub(super) async fn send_until_ended(&mut self, bytes: &[u8], what: &str) {
        let ended = timeout(WAIT_TIMEOUT, async { while self.0.write_all(bytes).await.is_ok() {} });
        ended.await.unwrap_or_else(|_| panic!("the connection is still open: {what}"));
    }

    /// Begins a call without ending its request.
    pub(super) async fn begin_call(&mut self, stream: u32, path: &str) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &headers(path))).await.unwrap();
    }

    /// Waits for a frame of this type, and returns the types of the frames before it.
    pub(super) async fn receive(&mut self, wanted: u8) -> Vec<u8> {
        let found = timeout(WAIT_TIMEOUT, async {
            let mut before = Vec::new();
            loop {
                let mut header = [0; 9];
                self.0.read_exact(&mut header).await.unwrap();
                let [_, high, middle, low] = u32::from_be_bytes([0, header[0], header[1], header[2]]).to_be_bytes();
                let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
                self.0.read_exact(&mut payload).await.unwrap();
                if header[3] == wanted {
                    return before;
                }
                before.push(header[3]);
            }
        });
        found.await.unwrap_or_else(|_| panic!("no frame of kind {wanted} came"))
    }

    /// Waits until the sidecar closes the connection.
    pub(super) async fn ended(&mut self, what: &str) {
        let mut buffer = vec![0; 16 * 1024];
        let ended = timeout(WAIT_TIMEOUT, async { while let Ok(1..) = self.0.read(&mut buffer).await {} });
        ended.await.unwrap_or_else(|_| panic!("the connection is still open: {what}"));
    }

    /// Returns whether the sidecar has closed the connection.
    pub(super) fn has_ended(&self) -> bool {
        let mut buffer = [0; 1024];
        loop {
            match self.0.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Sends a call piece by piece, with a pause after each piece, and returns its status. The client has no timeout of its own.
pub(super) async fn call(address: &str, timeout_header: Option<&str>, pieces: Vec<Bytes>, pause: Duration) -> Status {
    let (client, driving) = client(address).await;
    let mut request = request();
    if let Some(value) = timeout_header {
        request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
    }
    let (answer, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            // The sidecar may have answered already.
            if body.send_data(piece, false).is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        let _ = body.send_data(Bytes::new(), true);
    });
    let answer = timeout(WAIT_TIMEOUT, answer).await.unwrap().unwrap();
    let status = Status::from_header_map(answer.headers()).expect("it is refused without a message");
    sending.abort();
    driving.abort();
    status
}

/// A whole response.
#[derive(Debug, PartialEq)]
pub(super) struct Exchange {
    pub(super) status: http::StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<http::HeaderMap>,
}

/// Sends a request on a connection of its own, each piece of its body as a frame, and returns the whole response, or the reason
/// of a reset.
pub(super) async fn exchange(
    address: &str,
    request: http::Request<()>,
    pieces: Vec<Bytes>,
) -> Result<Exchange, Option<h2::Reason>> {
    let (client, driving) = client(address).await;
    let (response, mut sending) = client.ready().await.unwrap().send_request(request, pieces.is_empty()).unwrap();
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        // The sidecar may have answered and reset the stream already.
        let _ = sending.send_data(piece, number == last);
    }
    let whole = async {
        let (head, mut incoming) = response.await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(bytes) = incoming.data().await.transpose()? {
            incoming.flow_control().release_capacity(bytes.len())?;
            body.put(bytes);
        }
        let trailers = incoming.trailers().await?;
        Ok(Exchange { status: head.status, headers: head.headers, body: body.freeze(), trailers })
    };
    let exchange = timeout(WAIT_TIMEOUT, whole).await.unwrap();
    driving.abort();
    exchange.map_err(|error: h2::Error| error.reason())
}

/// Unfinished calls on one connection, which end with it.
pub(super) struct Held {
    driving: JoinHandle<Result<(), h2::Error>>,
    _calls: Vec<(h2::client::ResponseFuture, h2::SendStream<Bytes>)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// Begins calls with this incomplete body, and waits until each body is sent or the call is refused.
pub(super) async fn hold(address: &str, calls: usize, body: &Bytes) -> Held {
    let (mut client, driving) = client(address).await;
    let mut held = Vec::new();
    for _ in 0..calls {
        client = client.ready().await.unwrap();
        let (answer, mut sending) = client.send_request(request(), false).unwrap();
        let mut rest = body.clone();
        while !rest.is_empty() {
            sending.reserve_capacity(rest.len());
            let room =
                timeout(WAIT_TIMEOUT, std::future::poll_fn(|context| sending.poll_capacity(context))).await.unwrap();
            let Some(Ok(room)) = room else { break };
            if sending.send_data(rest.split_to(room), false).is_err() {
                break;
            }
        }
        held.push((answer, sending));
    }
    Held { driving, _calls: held }
}

async fn client(address: &str) -> (h2::client::SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

fn request() -> http::Request<()> {
    http::Request::post(format!("http://localhost{}", super::RESERVE))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}
