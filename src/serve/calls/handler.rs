//! One call, from its headers to the last byte of its answer: whether there is room for it, how long it may take, and the
//! contract's words for what never came to the contract's code.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep, timeout};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{
    call_observer::{CallObserver, answered},
    call_slots::{CallSlot, CallSlots},
    request_progress::watched,
    response_body::ResponseBody,
};
use crate::{
    call_refusal::CallRefusal,
    clock::Clock,
    metrics::CallMetrics,
    serve::{
        access::TokenGuard,
        connections::{ConnectionState, InFlightCall},
        fast_path::{CallMemory, QuotaMethod, UnaryRequest, answer, next_frame},
        limits::Limits,
        listeners::Services,
        log_throttle::LogThrottle,
    },
    service::{Caller, QuotaApi},
    traces::Traces,
};

/// A client learns more from an answer than from its own deadline, so it gets one so much earlier, or a tenth of the time.
const BEFORE_DEADLINE: Duration = Duration::from_millis(10);

/// For how long the rest of a request is waited for that was refused already. A stream that is reset before its end counts
/// against its connection, which h2 ends after a thousand: honest clients would lose theirs by being told to come again.
const REST_OF_REFUSED: Duration = Duration::from_secs(1);

/// How the paths of the health begin.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// What calls cost, and so what they are counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallKind {
    /// A call of the contract.
    Work,
    /// A question for the health, which is answered from memory, and most needed when nothing else is.
    Check,
    /// A watch of the health or a conversation with reflection: open for as long as the client likes.
    Stream,
}

impl CallKind {
    fn of(path: &str) -> Self {
        match path {
            "/grpc.health.v1.Health/Watch" => Self::Stream,
            _ if path.starts_with(HEALTH) => Self::Check,
            _ if path.starts_with("/grpc.reflection.") => Self::Stream,
            _ => Self::Work,
        }
    }
}

/// What all calls of a listener share: its services, and the room for calls.
pub(in crate::serve) struct CallContext {
    routes: Routes,
    /// Where it is on this listener: it is what executors wait for, so its calls take the shortest way.
    quota: Option<QuotaApi>,
    /// What a call has to bring, where it has to bring something.
    guard: Option<TokenGuard>,
    limits: Limits,
    /// Where they are counted and timed, if anybody can be told.
    metrics: Option<Arc<CallMetrics>>,
    traces: Option<Arc<Traces>>,
    work: Arc<CallSlots>,
    checks: Arc<CallSlots>,
    streams: Arc<CallSlots>,
    refused: Arc<CallSlots>,
    /// What a call is told that there is no room for: ready-made, as telling it has to be cheap.
    overloaded: Response<()>,
    clock: Clock,
    shed: LogThrottle,
    unsigned: LogThrottle,
}

impl CallContext {
    pub(in crate::serve) fn new(
        services: Services,
        limits: Limits,
        metrics: Option<Arc<CallMetrics>>,
        traces: Option<Arc<Traces>>,
    ) -> Self {
        Self {
            routes: services.routes.prepare(),
            quota: services.quota,
            guard: services.guard,
            work: CallSlots::of(limits.max_calls),
            checks: CallSlots::of(limits.max_calls),
            streams: CallSlots::of(limits.max_streams),
            refused: CallSlots::of(limits.max_calls),
            limits,
            metrics,
            traces,
            overloaded: Status::from(CallRefusal::Overloaded).into_http::<Body>().map(|_| ()),
            clock: Clock::default(),
            shed: LogThrottle::default(),
            unsigned: LogThrottle::default(),
        }
    }

    fn follow(&self, path: &str, headers: &HeaderMap) -> CallObserver<'_> {
        let span = self.traces.as_ref().and_then(|traces| traces.call(path, headers));
        CallObserver { counted: self.metrics.as_ref().map(|metrics| metrics.begin(path)), span }
    }

    fn count_refused(&self, refusal: &CallRefusal) {
        if let Some(metrics) = &self.metrics {
            metrics.refused(refusal);
        }
    }

    fn enter(&self, kind: CallKind) -> Option<CallSlot> {
        let room = match kind {
            CallKind::Work => &self.work,
            CallKind::Check => &self.checks,
            CallKind::Stream => &self.streams,
        };
        let place = room.enter();
        if place.is_none()
            && let Some(times) = self.shed.happened(&self.clock)
        {
            tracing::warn!(times, ?kind, "more calls at once than there is room for; they are told to come again");
        }
        place
    }

    /// Answers at once that a call is not carried out; what else its client sends is dropped as it comes.
    fn refuse(&self, request: Request<Incoming>, refusal: Response<Body>) -> Response<ResponseBody> {
        if let Some(place) = self.refused.enter() {
            let mut rest = request.into_body();
            tokio::spawn(async move {
                let arrives = async { while let Some(Ok(_)) = next_frame(&mut rest).await {} };
                // Late or not, there is nothing left to do for it.
                let _ = timeout(REST_OF_REFUSED, arrives).await;
                drop(place);
            });
        }
        ResponseBody::of(refusal, None)
    }

    /// Tells a client to come again.
    fn overloaded(&self) -> Response<Body> {
        self.overloaded.clone().map(|()| Body::empty())
    }

    /// Whether a call brings what it has to. The health is told to everybody: whoever probes it has nothing to bring.
    fn admit(&self, path: &str, headers: &HeaderMap, caller: &Caller) -> Result<(), CallRefusal> {
        let Some(guard) = self.guard.as_ref().filter(|_| !path.starts_with(HEALTH)) else { return Ok(()) };
        let checked = guard.current().check(headers);
        if checked.is_err()
            && let Some(times) = self.unsigned.happened(&self.clock)
        {
            tracing::warn!(times, %caller, "calls without the token of this listener are refused");
        }
        checked
    }

    /// Answers by way of tonic, which takes whatever comes.
    async fn answer(&self, request: Request<Body>, patience: &mut CallTimeout) -> Response<Body> {
        let (request, arrived) = watched(request);
        let answer = self.routes.clone().oneshot(request);
        // Of a stream, this bounds how long its question may take to arrive; the stream itself lasts.
        match patience.wait_for(pin!(answer)).await {
            Some(Ok(response)) => self.in_the_contracts_words(response),
            Some(Err(never)) => match never {},
            None if arrived.load(Ordering::Relaxed) => self.refusal(CallRefusal::Unanswered),
            None => self.refusal(CallRefusal::Incomplete),
        }
    }

    fn refusal(&self, refusal: CallRefusal) -> Response<Body> {
        self.count_refused(&refusal);
        Status::from(refusal).into_http()
    }

    fn in_the_contracts_words(&self, response: Response<Body>) -> Response<Body> {
        let told = Status::from_header_map(response.headers());
        if told.as_ref().is_some_and(CallRefusal::is_of_team) {
            self.count_refused(&CallRefusal::TeamNotAllowed);
        }
        match told.and_then(|status| CallRefusal::from_bare(&status, self.limits.max_message_bytes)) {
            Some(refusal) => self.refusal(refusal),
            None => response,
        }
    }
}

/// How long a call is waited for: a timer, once there is something to wait for. Most calls never need one.
struct CallTimeout {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl CallTimeout {
    fn of(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Waits for something, for as long as there is patience left.
    async fn wait_for<Awaited: Future + ?Sized>(&mut self, mut awaited: Pin<&mut Awaited>) -> Option<Awaited::Output> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = awaited.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let limit = self.limit;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}

/// The calls of one connection.
pub(in crate::serve) struct CallHandler {
    calls: Arc<CallContext>,
    /// As this client may ask it.
    quota: Option<QuotaApi>,
    caller: Caller,
    vitals: Arc<ConnectionState>,
    workplace: CallMemory,
}

impl CallHandler {
    pub(in crate::serve) fn new(calls: Arc<CallContext>, caller: Caller, vitals: Arc<ConnectionState>) -> Self {
        let quota = calls.quota.as_ref().map(|quota| quota.on_behalf_of(&caller));
        Self { calls, quota, caller, vitals, workplace: CallMemory::default() }
    }

    /// Answers one call.
    pub(in crate::serve) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let path = request.uri().path();
        let kind = CallKind::of(path);
        let direct = self.quota.as_ref().and_then(|quota| Some((quota, QuotaMethod::of(path)?)));
        // What lasts for as long as its client likes says nothing of how fast this sidecar is.
        let followed = (kind == CallKind::Work).then(|| self.calls.follow(path, request.headers()));
        if let Err(refusal) = self.calls.admit(path, request.headers(), &self.caller) {
            self.calls.count_refused(&refusal);
            let refusal = Status::from(refusal);
            answered(followed, refusal.code());
            return Ok(self.calls.refuse(request, refusal.into_http()));
        }
        let Some(place) = self.calls.enter(kind) else {
            self.calls.count_refused(&CallRefusal::Overloaded);
            answered(followed, Code::ResourceExhausted);
            return Ok(self.calls.refuse(request, self.calls.overloaded()));
        };
        let ticket = match kind {
            CallKind::Stream => self.vitals.begin_stream(place),
            CallKind::Work | CallKind::Check => self.vitals.begin_call(place),
        };
        let mut patience = CallTimeout::of(time_for(request.headers(), self.calls.limits.max_call_time));
        let Some((quota, method)) = direct else {
            let request = request.map(Body::new);
            return Ok(Box::pin(self.answer_by_tonic(request, patience, ticket, followed)).await);
        };

        let (head, body) = request.into_parts();
        let max_message_bytes = self.calls.limits.max_message_bytes;
        let question = patience.wait_for(pin!(UnaryRequest::read(body, &head.headers, max_message_bytes))).await;
        let outcome = match question {
            Some(Ok(UnaryRequest::Whole(message))) => {
                let answer = answer(quota.clone(), method, message);
                let mut work = match followed.as_ref().and_then(|followed| followed.span.as_ref()) {
                    Some(span) => self.workplace.with(span.carry(answer)),
                    None => self.workplace.with(answer),
                };
                let answer = patience.wait_for(work.future()).await;
                if answer.is_some() {
                    self.workplace.take_back(work);
                }
                answer.unwrap_or_else(|| Err(CallRefusal::Unanswered.into()))
            }
            Some(Ok(UnaryRequest::Partial(pieces))) => {
                let request = Request::from_parts(head, Body::new(pieces));
                return Ok(Box::pin(self.answer_by_tonic(request, patience, ticket, followed)).await);
            }
            Some(Err(broken)) => Err(Status::from_error(Box::new(broken))),
            None => Err(CallRefusal::Incomplete.into()),
        };
        if let Some(refusal) = outcome.as_ref().err().and_then(CallRefusal::of) {
            self.calls.count_refused(refusal);
        }
        answered(followed, outcome.as_ref().map_or_else(Status::code, |_| Code::Ok));
        Ok(match outcome {
            Ok(message) => ResponseBody::message(message, ticket),
            Err(status) => ResponseBody::of(status.into_http(), Some(ticket)),
        })
    }

    async fn answer_by_tonic(
        &self,
        mut request: Request<Body>,
        mut patience: CallTimeout,
        ticket: InFlightCall,
        followed: Option<CallObserver<'_>>,
    ) -> Response<ResponseBody> {
        request.extensions_mut().insert(self.caller.clone());
        let answer = self.calls.answer(request, &mut patience);
        let response = match followed.as_ref().and_then(|followed| followed.span.as_ref()) {
            Some(span) => span.carry(answer).await,
            None => answer.await,
        };
        answered(followed, Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()));
        ResponseBody::of(response, Some(ticket))
    }
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
            ("/tollgate.v1.QuotaService/Commit", CallKind::Work),
            ("/nothing", CallKind::Work),
            ("/grpc.health.v1.Health/Check", CallKind::Check),
            ("/grpc.health.v1.Health/List", CallKind::Check),
            ("/grpc.health.v1.Health/Watch", CallKind::Stream),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", CallKind::Stream),
        ] {
            assert_eq!(CallKind::of(path), kind, "{path}");
        }
    }
}
