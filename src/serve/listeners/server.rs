//! Serves one listener: accepts connections, serves each of them until it ends, and stops on a signal.
//!
//! All listeners are served by this code: data, admin and probe. They differ in their limits and services, in the protocols that
//! they speak, and in which connection is evicted when the listener is full.

use std::{
    ops::DerefMut,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::BoxError;

use super::{http_settings, listener::Listener, services::Services};
use crate::{
    metrics::CallMetrics,
    serve::{
        calls::{CallContext, CallHandler},
        connections::{Accepted, ConnectionRegistry, ConnectionState, Eviction, Protocol, RegisteredConnection},
        fast_path::ConnectionTask,
        limits::Limits,
    },
    traces::Traces,
};

/// How a listener is served, and what stops it.
#[derive(Clone)]
pub(in crate::serve) struct ListenerServer {
    /// Stops accepting. Calls in flight finish.
    pub(in crate::serve) accepting: CancellationToken,
    /// Closes every connection.
    pub(in crate::serve) everything: CancellationToken,
    pub(in crate::serve) limits: Limits,
    /// The protocols that the listener speaks.
    pub(in crate::serve) protocol: Protocol,
    /// Which connection is closed when one more comes.
    pub(in crate::serve) eviction: Eviction,
    /// Tracks the open connections.
    pub(in crate::serve) connections: TaskTracker,
    /// Where calls are counted and timed, if the sidecar has a listener that shows it.
    pub(in crate::serve) metrics: Option<Arc<CallMetrics>>,
    /// Where spans are made, if a collector takes them.
    pub(in crate::serve) traces: Option<Arc<Traces>>,
}

impl ListenerServer {
    /// Serves until accepting stops and the last connection has ended.
    pub(in crate::serve) fn serve(
        &self,
        services: impl Into<Services>,
        listener: Listener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (server, services) = (self.clone(), services.into());
        async move {
            let limits = server.limits.clone();
            let context =
                Arc::new(CallContext::new(services, limits.clone(), server.metrics.clone(), server.traces.clone()));
            let registry = ConnectionRegistry::new(limits.max_connections, server.protocol, server.eviction);
            tokio::select! {
                () = server.accept(listener, &context, &registry) => {}
                () = Arc::clone(&registry).enforce_timeouts(limits.clone()) => {}
                () = server.accepting.cancelled() => {}
            }
            server.connections.close();
            tokio::select! {
                () = server.connections.wait() => {}
                () = registry.enforce_timeouts(limits) => {}
            }
        }
    }

    async fn accept(&self, listener: Listener, context: &Arc<CallContext>, registry: &Arc<ConnectionRegistry>) {
        loop {
            let accepted = listener.accept().await;
            if let Some(connection) = registry.admit(&self.everything).await {
                self.connections.spawn(self.clone().serve_accepted(accepted, connection, Arc::clone(context)));
            }
        }
    }

    async fn serve_accepted(self, accepted: Accepted, connection: RegisteredConnection, context: Arc<CallContext>) {
        let state = connection.state();
        let Some(accepted) = self.handshake(accepted, state).await else { return };
        let handler = Arc::new(CallHandler::new(context, accepted.caller().clone(), Arc::clone(state)));
        let for_calls = Arc::clone(&handler);
        let service = service_fn(move |request| Arc::clone(&for_calls).handle(request));
        let transport = TokioIo::new(accepted.with_state(Arc::clone(state)));
        let fast_path = handler.fast_path();
        match self.protocol {
            Protocol::Http2 => {
                let builder = http_settings::http2(&self.limits, fast_path.executor());
                let http = pin!(builder.serve_connection(transport, service));
                self.serve_http(fast_path.drive(http), state).await;
            }
            Protocol::Http1AndHttp2 => {
                let builder = http_settings::http1_and_http2(&self.limits, fast_path.executor());
                // Boxed, so that this future is not larger for the connections of the other listeners.
                let http = Box::pin(builder.serve_connection(transport, service));
                self.serve_http(fast_path.drive(http), state).await;
            }
        }
    }

    /// Serves an HTTP connection until it ends, is closed, or is too old.
    async fn serve_http<Http>(&self, mut http: ConnectionTask<Pin<Http>>, state: &ConnectionState)
    where
        Http: DerefMut<Target: GracefulConnection<Error: Into<BoxError>>> + Unpin,
    {
        let mut age = pin!(sleep(jittered(self.limits.max_connection_age)));
        let (mut is_stopping, mut is_old) = (false, false);
        loop {
            tokio::select! {
                ended = &mut http => {
                    if let Err(error) = ended {
                        let error: BoxError = error.into();
                        let cause = error.source().map(ToString::to_string);
                        tracing::debug!(%error, cause, other_protocol = state.other_protocol(), "a connection failed");
                    }
                    return;
                }
                () = state.cut.cancelled() => return,
                () = self.accepting.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    if state.other_protocol().is_some() {
                        return;
                    }
                    http.connection().as_mut().graceful_shutdown();
                }
                () = &mut age => {
                    if is_old {
                        tracing::debug!("closing a connection that did not end when it was asked to");
                        return;
                    }
                    is_old = true;
                    http.connection().as_mut().graceful_shutdown();
                    age.set(sleep(self.limits.max_call_time));
                }
            }
        }
    }

    /// Completes the TLS handshake, if the listener has TLS. Returns `None` if it fails or the connection is closed first.
    async fn handshake(&self, accepted: Accepted, state: &ConnectionState) -> Option<Accepted> {
        tokio::select! {
            accepted = accepted.handshaken() => accepted,
            () = state.cut.cancelled() => None,
            () = self.accepting.cancelled() => None,
        }
    }
}

/// Returns an age that is up to a tenth longer or shorter, at random, so that clients that connected together do not all
/// reconnect together.
fn jittered(age: Duration) -> Duration {
    Duration::try_from_secs_f64(age.as_secs_f64() * (0.9 + 0.2 * fastrand::f64())).unwrap_or(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_age_do_not_end_at_one_time() {
        let age = Duration::from_secs(3_600);
        let ages: Vec<_> = (0..100).map(|_| jittered(age)).collect();
        let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*first >= age.mul_f64(0.9) && *last <= age.mul_f64(1.1), "{first:?} to {last:?}");
        assert!(*last - *first > age / 20, "{first:?} to {last:?}");
    }
}
