//! What a client asks, taken from its request: whole, where it came as one message in one piece, as all but the strangest
//! come; else as it is, for tonic to make of it what it can.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

/// A message's flag, which is zero for one that is not compressed, and its length.
const PREFIX: usize = 5;

/// What a client asks.
pub(in crate::serve) enum UnaryRequest {
    /// The bytes of its message; nothing comes after it.
    Whole(Bytes),
    /// What has come so far, and the rest.
    Partial(PartialBody),
}

/// A body of which something was taken already.
pub(in crate::serve) struct PartialBody {
    taken: [Option<Frame<Bytes>>; 2],
    rest: Incoming,
}

impl UnaryRequest {
    /// Takes it from the body of a request: waits for a whole message and for the end, or until it is clear that this is not how it
    /// comes.
    pub(in crate::serve) async fn read(
        mut body: Incoming,
        headers: &HeaderMap,
        max_message_bytes: u32,
    ) -> Result<Self, hyper::Error> {
        let in_pieces = |first, second, rest| Ok(Self::Partial(PartialBody { taken: [first, second], rest }));
        if headers.contains_key("grpc-encoding") {
            return in_pieces(None, None, body);
        }
        let Some(first) = next_frame(&mut body).await.transpose()? else { return in_pieces(None, None, body) };
        let Some(message) = first.data_ref().and_then(|bytes| whole(bytes, max_message_bytes)) else {
            return in_pieces(Some(first), None, body);
        };
        // Some clients, tonic's among them, say with a frame of its own, which is empty, that this was all.
        while !body.is_end_stream()
            && let Some(second) = next_frame(&mut body).await.transpose()?
        {
            if second.data_ref().is_none_or(|bytes| !bytes.is_empty()) {
                return in_pieces(Some(first), Some(second), body);
            }
        }
        Ok(Self::Whole(message))
    }
}

/// The message of a frame that has all of one, and nothing else.
fn whole(bytes: &Bytes, max_message_bytes: u32) -> Option<Bytes> {
    let ([0, length @ ..], message) = bytes.split_first_chunk::<PREFIX>()? else { return None };
    let length = u32::from_be_bytes(*length);
    let is_whole = length <= max_message_bytes && usize::try_from(length) == Ok(message.len());
    is_whole.then(|| bytes.slice(PREFIX..))
}

/// The next frame of a request's body.
pub(in crate::serve) async fn next_frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

impl http_body::Body for PartialBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.taken.iter_mut().find_map(Option::take) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken.iter().all(Option::is_none) && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_message_that_is_not_compressed_nor_too_large_is_taken() {
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
            assert_eq!(whole(&Bytes::from_static(bytes), 3).as_deref(), taken, "{bytes:?}");
        }
    }
}
