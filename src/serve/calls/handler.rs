//! Handles one call, from its headers to its response.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Code, Status, body::Body};

use super::{
    call_context::CallContext,
    call_kind::CallKind,
    call_observer::{CallObserver, answered},
    response_body::{AdmittedCall, ResponseBody},
};
use crate::{
    call_refusal::CallRefusal,
    serve::{
        call_timeout::CallTimeout,
        connections::ConnectionState,
        fast_path::{FastOutcome, FastPath},
    },
    service::Caller,
};

/// Handles the calls of one connection.
pub(in crate::serve) struct CallHandler {
    context: Arc<CallContext>,
    caller: Caller,
    connection: Arc<ConnectionState>,
    fast_path: FastPath,
}

impl CallHandler {
    pub(in crate::serve) fn new(context: Arc<CallContext>, caller: Caller, connection: Arc<ConnectionState>) -> Self {
        let quota = context.quota(&caller);
        let fast_path = FastPath::new(quota, context.limits.max_message_bytes, Arc::clone(&connection));
        Self { context, caller, connection, fast_path }
    }

    /// Returns the fast path of this connection, which also drives the connection's task.
    pub(in crate::serve) fn fast_path(&self) -> &FastPath {
        &self.fast_path
    }

    /// Handles one call.
    ///
    /// A call takes these steps in order. The first one that refuses it decides its response.
    ///
    /// 1. The path decides the kind of the call. Calls of the contract are counted and timed, and have a span if their caller
    ///    traces them.
    /// 2. The listener's token is checked, if it has one.
    /// 3. The call takes a slot of its kind. If none is free, it fails with RESOURCE_EXHAUSTED.
    /// 4. From here on the call is in flight: its connection is not evicted, and its timeout runs, which is a little shorter than
    ///    the client's deadline.
    /// 5. A plain request of QuotaService takes the fast path. Any other request goes to tonic.
    /// 6. The code of the response is recorded. The slot is free again when the body of the response has been sent.
    ///
    /// # Example
    ///
    /// A client sends `POST /tollgate.v1.QuotaService/Commit` with `grpc-timeout: 1S` and one DATA frame of 60 bytes.
    ///
    /// - The kind is [`CallKind::Contract`], so the call is counted. The data listener has no token, so step 2 lets it pass.
    /// - 12 of 1,024 slots are taken. The call takes the 13th, and has until 990 ms from now.
    /// - The frame holds one whole message. The fast path decodes it, and asks the gate on behalf of this connection's client,
    ///   which may commit for some teams only. The gate commits within 200 µs.
    /// - The response is the headers, a DATA frame with the message, and trailers with `grpc-status: 0`. OK is recorded.
    ///
    /// If the client sends the same message in two DATA frames, the fast path hands both to tonic in step 5, and the response is
    /// the same. If the gate takes longer than 990 ms, the response is UNAVAILABLE with the reason STORE_UNAVAILABLE, and the
    /// commit is still carried out.
    pub(in crate::serve) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let path = request.uri().path();
        let kind = CallKind::of(path);
        // A stream lasts for as long as its client likes, and a health check costs nothing. The duration of either says nothing
        // about the speed of this sidecar.
        let observer = (kind == CallKind::Contract).then(|| self.context.observe(path, request.headers()));
        if let Err(refusal) = self.context.check_token(path, request.headers(), &self.caller) {
            self.context.count_refused(&refusal);
            let status = Status::from(refusal);
            answered(observer, status.code());
            return Ok(self.context.refuse(request, status.into_http()));
        }
        let Some(slot) = self.context.enter(kind) else {
            self.context.count_refused(&CallRefusal::Overloaded);
            answered(observer, Code::ResourceExhausted);
            return Ok(self.context.refuse(request, self.context.overloaded()));
        };
        let in_flight = match kind {
            CallKind::Stream => self.connection.begin_stream(),
            CallKind::Contract | CallKind::HealthCheck => self.connection.begin_call(),
        };
        let admitted = AdmittedCall::new(in_flight, slot);
        let mut timeout = CallTimeout::of(request.headers(), self.context.limits.max_call_time);
        let Some(call) = self.fast_path.take(&request) else {
            let request = request.map(Body::new);
            return Ok(Box::pin(self.answer_with_tonic(request, timeout, admitted, observer)).await);
        };
        let span = observer.as_ref().and_then(|observer| observer.span.as_ref());
        let result = match self.fast_path.answer(call, request, &mut timeout, span).await {
            FastOutcome::Answered(result) => result,
            FastOutcome::ForTonic(request) => {
                return Ok(Box::pin(self.answer_with_tonic(*request, timeout, admitted, observer)).await);
            }
        };
        if let Some(refusal) = result.as_ref().err().and_then(CallRefusal::of) {
            self.context.count_refused(refusal);
        }
        answered(observer, result.as_ref().map_or_else(Status::code, |_| Code::Ok));
        Ok(match result {
            Ok(message) => ResponseBody::message(message, admitted),
            Err(status) => ResponseBody::of(status.into_http(), Some(admitted)),
        })
    }

    async fn answer_with_tonic(
        &self,
        mut request: Request<Body>,
        mut timeout: CallTimeout,
        admitted: AdmittedCall,
        observer: Option<CallObserver<'_>>,
    ) -> Response<ResponseBody> {
        request.extensions_mut().insert(self.caller.clone());
        let answer = self.context.answer_with_tonic(request, &mut timeout);
        let response = match observer.as_ref().and_then(|observer| observer.span.as_ref()) {
            Some(span) => span.carry(answer).await,
            None => answer.await,
        };
        answered(observer, Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()));
        ResponseBody::of(response, Some(admitted))
    }
}
