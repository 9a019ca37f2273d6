//! The fast path: calls of QuotaService without tonic's router and codec, answered on the task of their connection.
//!
//! Most calls are answered from memory within microseconds, so what surrounds them decides what they cost. [`FastPath`] saves
//! that surrounding work in two ways:
//!
//! - A plain request (one uncompressed message in one piece) is decoded, answered and encoded here. Every other request goes
//!   through tonic, so an unusual request gets the same answer as from any tonic server.
//! - A call runs on the task of its connection. It becomes a task of its own only if it has to wait while others are in flight.
//!
//! Call handling uses [`FastPath`] only. The gate and the store know nothing of it. docs/internals/fast-path.md says what it
//! gains and which tests prove that both ways give the same answers.

mod call_memory;
mod connection_task;
mod inline_executor;
mod method;
mod plain_request;
mod unary_request;

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use tonic::{Status, body::Body};

use self::{call_memory::CallMemory, connection_task::WaitingCall, method::QuotaMethod, unary_request::UnaryRequest};
pub(super) use self::{connection_task::ConnectionTask, inline_executor::InlineExecutor};
use super::{call_timeout::CallTimeout, connections::ConnectionState};
use crate::{call_refusal::CallRefusal, service::QuotaApi, traces::CallSpan};

/// The fast path of one connection.
pub(super) struct FastPath {
    /// QuotaService on behalf of this connection's client, if the listener has QuotaService.
    quota: Option<QuotaApi>,
    max_message_bytes: u32,
    memory: CallMemory,
    connection: Arc<ConnectionState>,
    waiting: WaitingCall,
}

/// A request that the fast path takes.
pub(super) struct FastCall<'a> {
    quota: &'a QuotaApi,
    method: QuotaMethod,
}

/// The result of a request on the fast path.
pub(super) enum FastOutcome {
    /// The response message with its gRPC prefix, or the error.
    Answered(Result<Bytes, Status>),
    /// The message is compressed, too large, or came in pieces: tonic has to answer this request.
    ForTonic(Box<Request<Body>>),
}

impl FastPath {
    pub(super) fn new(quota: Option<QuotaApi>, max_message_bytes: u32, connection: Arc<ConnectionState>) -> Self {
        Self { quota, max_message_bytes, memory: CallMemory::default(), connection, waiting: WaitingCall::default() }
    }

    /// Returns the executor for the calls of this connection, which hyper needs when it is built.
    pub(super) fn executor(&self) -> InlineExecutor {
        InlineExecutor::new(Arc::clone(&self.connection), self.waiting.clone())
    }

    /// Wraps the connection that hyper serves with [`Self::executor`], so that it also drives the call that waits on its task.
    pub(super) fn drive<Connection>(&self, connection: Connection) -> ConnectionTask<Connection> {
        ConnectionTask::new(connection, self.waiting.clone())
    }

    /// Returns the call if the fast path can take this request, judged by its headers.
    pub(super) fn take(&self, request: &Request<Incoming>) -> Option<FastCall<'_>> {
        let method = QuotaMethod::of(request.uri().path())?;
        let quota = self.quota.as_ref().filter(|_| plain_request::is_plain(request.method(), request.headers()))?;
        Some(FastCall { quota, method })
    }

    /// Reads the message of a request and answers it, within the time that `timeout` has left.
    pub(super) async fn answer(
        &self,
        call: FastCall<'_>,
        request: Request<Incoming>,
        timeout: &mut CallTimeout,
        span: Option<&CallSpan>,
    ) -> FastOutcome {
        let (head, body) = request.into_parts();
        let message = match timeout.bound(pin!(UnaryRequest::read(body, self.max_message_bytes))).await {
            Some(Ok(UnaryRequest::Whole(message))) => message,
            Some(Ok(UnaryRequest::Partial(body))) => {
                return FastOutcome::ForTonic(Box::new(Request::from_parts(head, Body::new(body))));
            }
            Some(Err(error)) => return FastOutcome::Answered(Err(Status::from_error(Box::new(error)))),
            None => return FastOutcome::Answered(Err(CallRefusal::Incomplete.into())),
        };
        let answer = method::answer(call.quota.clone(), call.method, message);
        let mut running = match span {
            Some(span) => self.memory.hold(span.carry(answer)),
            None => self.memory.hold(answer),
        };
        let answer = timeout.bound(running.future()).await;
        if answer.is_some() {
            self.memory.reuse(running);
        }
        FastOutcome::Answered(answer.unwrap_or_else(|| Err(CallRefusal::Unanswered.into())))
    }
}
