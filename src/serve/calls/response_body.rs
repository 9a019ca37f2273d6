//! The body of an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::serve::connections::InFlightCall;

/// The body of an answer, whose call is in flight until it is sent or given up.
pub(in crate::serve) struct ResponseBody {
    content: ResponseContent,
    _ticket: Option<InFlightCall>,
}

enum ResponseContent {
    /// A message with its prefix, and after it that all is well.
    Message(Bytes),
    /// That all is well.
    Ok,
    /// Nothing more.
    Nothing,
    /// Whatever tonic has to say.
    Tonic(Body),
}

impl ResponseBody {
    /// A message, with its prefix, as the answer of a call that succeeded.
    pub(in crate::serve) fn message(bytes: Bytes, ticket: InFlightCall) -> Response<Self> {
        let mut response = Response::new(Self { content: ResponseContent::Message(bytes), _ticket: Some(ticket) });
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// What tonic answers.
    pub(in crate::serve) fn of(response: Response<Body>, ticket: Option<InFlightCall>) -> Response<Self> {
        response.map(|body| Self { content: ResponseContent::Tonic(body), _ticket: ticket })
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, rest) = match &mut self.content {
            ResponseContent::Message(bytes) => (Frame::data(std::mem::take(bytes)), ResponseContent::Ok),
            ResponseContent::Ok => (Frame::trailers(all_is_well()), ResponseContent::Nothing),
            ResponseContent::Nothing => return Poll::Ready(None),
            ResponseContent::Tonic(body) => return Pin::new(body).poll_frame(context),
        };
        self.content = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            ResponseContent::Message(_) | ResponseContent::Ok => false,
            ResponseContent::Nothing => true,
            ResponseContent::Tonic(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            ResponseContent::Tonic(body) => body.size_hint(),
            // Said exactly, it would be sent as a header.
            _ => SizeHint::default(),
        }
    }
}

fn all_is_well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}
