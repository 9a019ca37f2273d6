//! How much of a request has arrived. A call that timed out fails differently if its request was incomplete.

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

/// Returns the request, and a flag that becomes true when all of it has arrived.
pub(super) fn track(request: Request<Body>) -> (Request<Body>, Arc<AtomicBool>) {
    let arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let flag = Arc::clone(&arrived);
    (request.map(|body| Body::new(TrackedBody { body, arrived: flag })), arrived)
}

/// The body of a request, which records when all of it has arrived.
struct TrackedBody {
    body: Body,
    arrived: Arc<AtomicBool>,
}

impl http_body::Body for TrackedBody {
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
