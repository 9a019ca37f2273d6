//! Whether all of a request has arrived: what came too late is told apart from what took too long to answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};

/// The request, and whether all of it has arrived.
pub(in crate::serve) fn watched(request: Request<Body>) -> (Request<Body>, Arc<AtomicBool>) {
    let arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let noted = Arc::clone(&arrived);
    (request.map(|body| Body::new(Watched { body, arrived: noted })), arrived)
}

/// The body of a request that says when all of it has arrived.
struct Watched {
    body: Body,
    arrived: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.arrived.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
