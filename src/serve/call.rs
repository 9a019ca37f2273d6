//! One call, from its headers to the last byte of its answer: whether there is room for it, how long it may take, and the
//! contract's words for what never came to the contract's code.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{
    Limits,
    seldom::Seldom,
    vitals::{Ticket, Vitals},
};
use crate::{
    clock::Clock,
    service::{Caller, Refusal},
};

/// A client learns more from an answer than from its own deadline, so it gets one so much earlier, or a tenth of the time.
const BEFORE_DEADLINE: Duration = Duration::from_millis(10);

/// For how long the rest of a request is waited for that was refused already. A stream that is reset before its end counts
/// against its connection, which h2 ends after a thousand: honest clients would lose theirs by being told to come again.
const REST_OF_REFUSED: Duration = Duration::from_secs(1);

/// What calls cost, and so what they are counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A call of the contract.
    Work,
    /// A question for the health, which is answered from memory, and most needed when nothing else is.
    Check,
    /// A watch of the health or a conversation with reflection: open for as long as the client likes.
    Stream,
}

impl Kind {
    fn of(path: &str) -> Self {
        match path {
            "/grpc.health.v1.Health/Watch" => Self::Stream,
            _ if path.starts_with("/grpc.health.") => Self::Check,
            _ if path.starts_with("/grpc.reflection.") => Self::Stream,
            _ => Self::Work,
        }
    }
}

/// What all calls of a listener share: its services, and the room for calls.
pub(super) struct Calls {
    routes: Routes,
    limits: Limits,
    work: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    clock: Clock,
    shed: Seldom,
}

impl Calls {
    pub(super) fn new(routes: Routes, limits: Limits) -> Self {
        let room = |calls: u32| {
            let calls = usize::try_from(calls).unwrap_or(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            routes: routes.prepare(),
            work: room(limits.max_calls),
            checks: room(limits.max_calls),
            streams: room(limits.max_streams),
            refused: room(limits.max_calls),
            limits,
            clock: Clock::default(),
            shed: Seldom::default(),
        }
    }

    fn enter(&self, kind: Kind) -> Option<OwnedSemaphorePermit> {
        let room = match kind {
            Kind::Work => &self.work,
            Kind::Check => &self.checks,
            Kind::Stream => &self.streams,
        };
        let place = Arc::clone(room).try_acquire_owned().ok();
        if place.is_none()
            && let Some(times) = self.shed.happened(&self.clock)
        {
            tracing::warn!(times, ?kind, "more calls at once than there is room for; they are told to come again");
        }
        place
    }

    /// Tells a client to come again, at once; what else it sends is dropped as it comes.
    fn refuse(&self, request: Request<Incoming>) -> Response<Body> {
        if let Ok(place) = Arc::clone(&self.refused).try_acquire_owned() {
            let mut rest = request.into_body();
            tokio::spawn(async move {
                let arrives = async { while let Some(Ok(_)) = next_frame(&mut rest).await {} };
                // Late or not, there is nothing left to do for it.
                let _ = timeout(REST_OF_REFUSED, arrives).await;
                drop(place);
            });
        }
        Status::from(Refusal::Overloaded).into_http()
    }

    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let deadline = time_for(request.headers(), self.limits.max_call_time);
        let (request, arrived) = watched(request);
        let answer = self.routes.clone().oneshot(request);
        // Of a stream, this bounds how long its question may take to arrive; the stream itself lasts.
        match timeout(deadline, answer).await {
            Ok(Ok(response)) => self.in_the_contracts_words(response),
            Ok(Err(never)) => match never {},
            Err(_) if arrived.load(Ordering::Relaxed) => Status::from(Refusal::Unanswered).into_http(),
            Err(_) => Status::from(Refusal::Incomplete).into_http(),
        }
    }

    fn in_the_contracts_words(&self, response: Response<Body>) -> Response<Body> {
        let bare = Status::from_header_map(response.headers());
        match bare.and_then(|status| Refusal::from_bare(&status, self.limits.max_message_bytes)) {
            Some(refusal) => Status::from(refusal).into_http(),
            None => response,
        }
    }
}

/// The calls of one connection.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) calls: Arc<Calls>,
    pub(super) caller: Caller,
    pub(super) vitals: Arc<Vitals>,
}

impl hyper::service::Service<Request<Incoming>> for Visitor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let kind = Kind::of(request.uri().path());
        let Some(place) = self.calls.enter(kind) else {
            return Box::pin(std::future::ready(Ok(self.calls.refuse(request))));
        };
        let ticket = match kind {
            Kind::Stream => self.vitals.begin_stream(place),
            Kind::Work | Kind::Check => self.vitals.begin_call(place),
        };
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.caller.clone());
        let calls = Arc::clone(&self.calls);
        Box::pin(async move {
            let response = calls.answer(request).await;
            Ok(response.map(|body| Body::new(Ticketed { body, _ticket: ticket })))
        })
    }
}

async fn next_frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// How long a call may take: a little less than its client waits, and no longer than any may.
fn time_for(headers: &HeaderMap, max_call_time: Duration) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| client_deadline(value.to_str().ok()?));
    match asked {
        Some(asked) => asked.saturating_sub(BEFORE_DEADLINE.min(asked / 10)).min(max_call_time),
        None => max_call_time,
    }
}

/// A `grpc-timeout`: at most eight digits, and a unit. What is none is as if it were not there.
fn client_deadline(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The request, and whether all of it has arrived.
fn watched(request: Request<Body>) -> (Request<Body>, Arc<AtomicBool>) {
    let arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let noted = Arc::clone(&arrived);
    (request.map(|body| Body::new(Watched { body, arrived: noted })), arrived)
}

/// The body of a request that says when all of it has arrived.
struct Watched {
    body: Body,
    arrived: Arc<AtomicBool>,
}

/// The body of an answer, whose call is in flight until it is sent or given up.
struct Ticketed {
    body: Body,
    _ticket: Ticket,
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

impl http_body::Body for Ticketed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_given_up_a_little_before_its_client_does_and_never_later_than_any_may_be() {
        let limit = Duration::from_secs(10);
        let time = |text: &str| {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]);
            time_for(&headers, limit)
        };
        for (text, micros) in [
            ("50m", 45_000),
            ("1000m", 990_000),
            ("2S", 1_990_000),
            ("100u", 90),
            ("99999999n", 90_000),
            ("0S", 0),
            ("10S", 9_990_000),
        ] {
            assert_eq!(time(text).as_micros(), micros, "{text}");
        }
        for text in ["11S", "1M", "99999999H", "", "S", "-1S", "+1S", "1x", "123456789n", "1é"] {
            let header = http::HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), header)]);
            assert_eq!(time_for(&headers, limit), limit, "{text}");
        }
        assert_eq!(time_for(&HeaderMap::new(), limit), limit);
    }

    #[test]
    fn what_may_stay_open_and_what_tells_the_health_are_counted_apart() {
        for (path, kind) in [
            ("/tollgate.v1.QuotaService/Commit", Kind::Work),
            ("/nothing", Kind::Work),
            ("/grpc.health.v1.Health/Check", Kind::Check),
            ("/grpc.health.v1.Health/List", Kind::Check),
            ("/grpc.health.v1.Health/Watch", Kind::Stream),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Kind::Stream),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }
}
