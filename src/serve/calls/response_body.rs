//! The body of a response. Its call stays in flight until the body is sent or dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::call_slots::CallSlot;
use crate::serve::connections::InFlightCall;

/// The body of a response.
pub(in crate::serve) struct ResponseBody {
    content: ResponseContent,
    _call: Option<AdmittedCall>,
}

/// A call that was admitted. It stays in flight, and keeps its slot, until this is dropped.
pub(super) struct AdmittedCall {
    _in_flight: InFlightCall,
    _slot: CallSlot,
}

impl AdmittedCall {
    pub(super) fn new(in_flight: InFlightCall, slot: CallSlot) -> Self {
        Self { _in_flight: in_flight, _slot: slot }
    }
}

/// The part of a response that was not sent yet.
enum ResponseContent {
    /// A message with its gRPC prefix, and then the trailers.
    Message(Bytes),
    /// The trailers, with status OK.
    Trailers,
    /// Nothing.
    Sent,
    /// A body that tonic has made.
    Tonic(Body),
}

impl ResponseBody {
    /// Returns the response of a call that succeeded with a message, which has its gRPC prefix.
    pub(super) fn message(message: Bytes, call: AdmittedCall) -> Response<Self> {
        let mut response = Response::new(Self { content: ResponseContent::Message(message), _call: Some(call) });
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// Returns a response that tonic has made.
    pub(super) fn of(response: Response<Body>, call: Option<AdmittedCall>) -> Response<Self> {
        response.map(|body| Self { content: ResponseContent::Tonic(body), _call: call })
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, rest) = match &mut self.content {
            ResponseContent::Message(bytes) => (Frame::data(std::mem::take(bytes)), ResponseContent::Trailers),
            ResponseContent::Trailers => (Frame::trailers(status_ok()), ResponseContent::Sent),
            ResponseContent::Sent => return Poll::Ready(None),
            ResponseContent::Tonic(body) => return Pin::new(body).poll_frame(context),
        };
        self.content = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            ResponseContent::Message(_) | ResponseContent::Trailers => false,
            ResponseContent::Sent => true,
            ResponseContent::Tonic(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            ResponseContent::Tonic(body) => body.size_hint(),
            // An exact size would be sent as a content-length header.
            _ => SizeHint::default(),
        }
    }
}

fn status_ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}
