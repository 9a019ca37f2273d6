//! What all calls of a listener share: its services, its call slots, and where calls are counted.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{
    call_kind::{CallKind, is_health},
    call_observer::CallObserver,
    call_slots::{CallSlot, CallSlots},
    request_progress::track,
    response_body::ResponseBody,
};
use crate::{
    call_refusal::CallRefusal,
    clock::Clock,
    metrics::CallMetrics,
    serve::{
        access::TokenGuard, call_timeout::CallTimeout, limits::Limits, listeners::Services, log_throttle::LogThrottle,
    },
    service::{Caller, QuotaApi},
    traces::Traces,
};

/// How long the rest of a refused request is read and dropped. If the sidecar reset the stream before its end, h2 would count
/// that against the connection, and would close the connection after a thousand refused calls of an honest client.
const DRAIN_REFUSED: Duration = Duration::from_secs(1);

/// What all calls of a listener share.
pub(in crate::serve) struct CallContext {
    routes: Routes,
    /// QuotaService, if the listener has it. Executors wait for its calls, so they take the fast path.
    quota: Option<QuotaApi>,
    /// The token that calls need, if the listener asks for one.
    guard: Option<TokenGuard>,
    pub(super) limits: Limits,
    /// Where calls are counted and timed, if the sidecar has a listener that shows it.
    metrics: Option<Arc<CallMetrics>>,
    traces: Option<Arc<Traces>>,
    contract_slots: Arc<CallSlots>,
    health_slots: Arc<CallSlots>,
    stream_slots: Arc<CallSlots>,
    /// Slots of refused calls whose requests are still arriving.
    refused_slots: Arc<CallSlots>,
    /// The response to a call that finds no free slot. It is made once, because sending it has to be cheap.
    overloaded: Response<()>,
    clock: Clock,
    overload_log: LogThrottle,
    token_log: LogThrottle,
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
            contract_slots: CallSlots::of(limits.max_calls),
            health_slots: CallSlots::of(limits.max_calls),
            stream_slots: CallSlots::of(limits.max_streams),
            refused_slots: CallSlots::of(limits.max_calls),
            limits,
            metrics,
            traces,
            overloaded: Status::from(CallRefusal::Overloaded).into_http::<Body>().map(|_| ()),
            clock: Clock::default(),
            overload_log: LogThrottle::default(),
            token_log: LogThrottle::default(),
        }
    }

    /// Returns QuotaService on behalf of a caller, if the listener has it.
    pub(super) fn quota(&self, caller: &Caller) -> Option<QuotaApi> {
        self.quota.as_ref().map(|quota| quota.on_behalf_of(caller))
    }

    /// Begins to observe a call.
    pub(super) fn observe(&self, path: &str, headers: &HeaderMap) -> CallObserver<'_> {
        let span = self.traces.as_ref().and_then(|traces| traces.call(path, headers));
        CallObserver { counted: self.metrics.as_ref().map(|metrics| metrics.begin(path)), span }
    }

    pub(super) fn count_refused(&self, refusal: &CallRefusal) {
        if let Some(metrics) = &self.metrics {
            metrics.refused(refusal);
        }
    }

    /// Checks that a call brings the token, if the listener asks for one. Health needs none, because probes bring none.
    pub(super) fn check_token(&self, path: &str, headers: &HeaderMap, caller: &Caller) -> Result<(), CallRefusal> {
        let Some(guard) = self.guard.as_ref().filter(|_| !is_health(path)) else { return Ok(()) };
        let checked = guard.current().check(headers);
        if checked.is_err()
            && let Some(times) = self.token_log.record(&self.clock)
        {
            tracing::warn!(times, %caller, "refusing calls without the token of this listener");
        }
        checked
    }

    /// Takes a slot for a call, or returns `None` if none is free.
    pub(super) fn enter(&self, kind: CallKind) -> Option<CallSlot> {
        let slots = match kind {
            CallKind::Contract => &self.contract_slots,
            CallKind::HealthCheck => &self.health_slots,
            CallKind::Stream => &self.stream_slots,
        };
        let slot = slots.enter();
        if slot.is_none()
            && let Some(times) = self.overload_log.record(&self.clock)
        {
            tracing::warn!(times, ?kind, "too many calls in flight; refusing more");
        }
        slot
    }

    /// Returns the response to a refused call. The rest of the request is read and dropped in the background.
    pub(super) fn refuse(&self, request: Request<Incoming>, response: Response<Body>) -> Response<ResponseBody> {
        if let Some(slot) = self.refused_slots.enter() {
            let mut rest = request.into_body();
            tokio::spawn(async move {
                let arrives = async {
                    while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut rest).poll_frame(context)).await {}
                };
                // Complete or not, there is nothing left to do for it.
                let _ = timeout(DRAIN_REFUSED, arrives).await;
                drop(slot);
            });
        }
        ResponseBody::of(response, None)
    }

    /// Returns the response to a call that finds no free slot.
    pub(super) fn overloaded(&self) -> Response<Body> {
        self.overloaded.clone().map(|()| Body::empty())
    }

    /// Answers a request with tonic's services.
    pub(super) async fn answer_with_tonic(&self, request: Request<Body>, timeout: &mut CallTimeout) -> Response<Body> {
        let (request, arrived) = track(request);
        let answer = self.routes.clone().oneshot(request);
        // For a stream, this bounds how long its first response may take. The stream itself may last longer.
        match timeout.bound(pin!(answer)).await {
            Some(Ok(response)) => self.with_contract_errors(response),
            Some(Err(never)) => match never {},
            None if arrived.load(Ordering::Relaxed) => self.refusal(CallRefusal::Unanswered),
            None => self.refusal(CallRefusal::Incomplete),
        }
    }

    fn refusal(&self, refusal: CallRefusal) -> Response<Body> {
        self.count_refused(&refusal);
        Status::from(refusal).into_http()
    }

    /// Replaces an error of tonic's own by the error that the contract has for it.
    fn with_contract_errors(&self, response: Response<Body>) -> Response<Body> {
        let status = Status::from_header_map(response.headers());
        if status.as_ref().is_some_and(CallRefusal::is_of_team) {
            self.count_refused(&CallRefusal::TeamNotAllowed);
        }
        match status.and_then(|status| CallRefusal::from_bare(&status, self.limits.max_message_bytes)) {
            Some(refusal) => self.refusal(refusal),
            None => response,
        }
    }
}
