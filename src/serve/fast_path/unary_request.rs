//! Reads the message of a unary request from its body: whole if it came as one frame, which is how nearly every client sends it;
//! otherwise as a body that tonic can read from its start.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

/// Bytes before a gRPC message: a flag, which is 0 for an uncompressed message, and its length.
const PREFIX_BYTES: usize = 5;

/// A request as it was read.
pub(super) enum UnaryRequest {
    /// The bytes of the only message of the request, without their prefix.
    Whole(Bytes),
    /// A body that is not one whole message in one frame.
    Partial(PartialBody),
}

/// A body that was read in part. It yields the frames that were read, and then the rest.
pub(super) struct PartialBody {
    read: [Option<Frame<Bytes>>; 2],
    rest: Incoming,
}

impl UnaryRequest {
    /// Reads a body until it turns out to be a whole message, or not.
    pub(super) async fn read(mut body: Incoming, max_message_bytes: u32) -> Result<Self, hyper::Error> {
        let partial = |first, second, rest| Ok(Self::Partial(PartialBody { read: [first, second], rest }));
        let Some(first) = next_frame(&mut body).await.transpose()? else { return partial(None, None, body) };
        let Some(message) = first.data_ref().and_then(|bytes| whole_message(bytes, max_message_bytes)) else {
            return partial(Some(first), None, body);
        };
        // Some clients, among them tonic's, end the request with an empty frame of its own.
        while !body.is_end_stream()
            && let Some(second) = next_frame(&mut body).await.transpose()?
        {
            if second.data_ref().is_none_or(|bytes| !bytes.is_empty()) {
                return partial(Some(first), Some(second), body);
            }
        }
        Ok(Self::Whole(message))
    }
}

/// Returns the message of a frame that holds one whole, uncompressed message and nothing else.
fn whole_message(bytes: &Bytes, max_message_bytes: u32) -> Option<Bytes> {
    let ([0, length @ ..], message) = bytes.split_first_chunk::<PREFIX_BYTES>()? else { return None };
    let length = u32::from_be_bytes(*length);
    let is_whole = length <= max_message_bytes && usize::try_from(length) == Ok(message.len());
    is_whole.then(|| bytes.slice(PREFIX_BYTES..))
}

async fn next_frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

impl http_body::Body for PartialBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.read.iter_mut().find_map(Option::take) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.iter().all(Option::is_none) && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_uncompressed_small_message_is_taken() {
        for (bytes, taken) in [
            (&b"\0\0\0\0\x03abc"[..], Some(&b"abc"[..])),
            (b"\0\0\0\0\0", Some(b"")),
            (b"\0\0\0\0\x04abcd", None),
            (b"\x01\0\0\0\x03abc", None),
            (b"\0\0\0\0\x03ab", None),
            (b"\0\0\0\0\x03abcd", None),
            (b"\0\0\0\x01\x03abc", None),
            (b"\0\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(whole_message(&Bytes::from_static(bytes), 3).as_deref(), taken, "{bytes:?}");
        }
    }
}
