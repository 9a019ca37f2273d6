//! A listener at work: it lets connections in, serves each until its time has come, and ends when it is told to.

use std::{error::Error as _, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{listener::Listener, services::Services};
use crate::{
    metrics::CallMetrics,
    serve::{
        calls::{CallContext, CallHandler},
        connections::{Accepted, ConnectionRegistry, ConnectionState, RegisteredConnection},
        fast_path::{InlineExecutor, SelfWaking},
        limits::Limits,
    },
    traces::Traces,
};

/// What a call may have sent that nobody has read yet: what HTTP/2 has if nothing is said. Requests are small, and read as
/// they come.
const CALL_WINDOW: u32 = 65_535;

/// The same of a connection, for each call that it may have in flight. h2 takes small frames that nobody has read yet for an
/// attack once they stand for more than half of the window, each for up to 256 bytes: so this is twice what honest calls
/// that come all at once need.
const CONNECTION_WINDOW_PER_CALL: u32 = 1_024;

/// The largest window that there is.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// What of an answer may wait to be sent.
const SEND_BUFFER: usize = 16 * 1024;

/// How a listener is served, and what ends it.
#[derive(Clone)]
pub(in crate::serve) struct ListenerServer {
    /// Ends accepting; calls in flight finish.
    pub(in crate::serve) accepting: CancellationToken,
    /// Ends every connection.
    pub(in crate::serve) everything: CancellationToken,
    /// What it lets in.
    pub(in crate::serve) limits: Limits,
    /// The connections that are open.
    pub(in crate::serve) connections: TaskTracker,
    /// Where calls are counted and timed, if anybody can be told.
    pub(in crate::serve) metrics: Option<Arc<CallMetrics>>,
    /// What makes their spans, if anybody wants them.
    pub(in crate::serve) traces: Option<Arc<Traces>>,
}

impl ListenerServer {
    /// Serves until accepting ends and the last call is answered.
    pub(in crate::serve) fn serve(
        &self,
        services: impl Into<Services>,
        listener: Listener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (listening, services) = (self.clone(), services.into());
        async move {
            let calls = Arc::new(listening.calls(services));
            let crowd = ConnectionRegistry::new(listening.limits.max_connections);
            tokio::select! {
                () = listening.accept(listener, &calls, &crowd) => {}
                () = Arc::clone(&crowd).keep_moving(listening.limits.clone()) => {}
                () = listening.accepting.cancelled() => {}
            }
            listening.connections.close();
            tokio::select! {
                () = listening.connections.wait() => {}
                () = crowd.keep_moving(listening.limits.clone()) => {}
            }
        }
    }

    async fn accept(&self, listener: Listener, calls: &Arc<CallContext>, crowd: &Arc<ConnectionRegistry>) {
        loop {
            let accepted = listener.accept().await;
            if let Some(place) = crowd.admit(&self.everything).await {
                self.connections.spawn(self.clone().attend(accepted, place, Arc::clone(calls)));
            }
        }
    }

    /// Serves one connection to its end.
    async fn attend(self, accepted: Accepted, place: RegisteredConnection, calls: Arc<CallContext>) {
        let vitals = Arc::clone(place.vitals());
        let Some(accepted) = self.greeted(accepted, &vitals).await else { return };
        let visitor = Arc::new(CallHandler::new(calls, accepted.caller().clone(), Arc::clone(&vitals)));
        let answering = service_fn(move |request| Arc::clone(&visitor).answer(request));
        let transport = TokioIo::new(accepted.watched(Arc::clone(&vitals)));
        let served = pin!(self.http2(&vitals).serve_connection(transport, answering));
        let mut served = SelfWaking::new(served);
        let mut age = pin!(sleep(jittered(self.limits.max_connection_age)));
        let (mut is_retiring, mut is_old) = (false, false);
        loop {
            tokio::select! {
                ended = &mut served => {
                    if let Err(error) = ended {
                        let cause = error.source().map(ToString::to_string);
                        tracing::debug!(%error, cause, spoke_instead = vitals.spoke_instead(), "a connection failed");
                    }
                    return;
                }
                () = vitals.cut.cancelled() => return,
                () = self.accepting.cancelled(), if !is_retiring => {
                    is_retiring = true;
                    if vitals.spoke_instead().is_some() {
                        return;
                    }
                    served.inner().as_mut().graceful_shutdown();
                }
                () = &mut age => {
                    if is_old {
                        tracing::debug!("a connection did not end though it was asked to");
                        return;
                    }
                    is_old = true;
                    served.inner().as_mut().graceful_shutdown();
                    age.set(sleep(self.limits.max_call_time));
                }
            }
        }
    }

    /// The connection once its handshake is done, if it has one; `None` if it comes to nothing, or is not done in time.
    async fn greeted(&self, accepted: Accepted, vitals: &ConnectionState) -> Option<Accepted> {
        tokio::select! {
            greeted = accepted.greeted() => greeted,
            () = vitals.cut.cancelled() => None,
            () = self.accepting.cancelled() => None,
        }
    }

    fn calls(&self, services: Services) -> CallContext {
        CallContext::new(services, self.limits.clone(), self.metrics.clone(), self.traces.clone())
    }

    fn http2(&self, vitals: &Arc<ConnectionState>) -> http2::Builder<InlineExecutor> {
        let mut http2 = http2::Builder::new(InlineExecutor::of(Arc::clone(vitals)));
        http2
            .timer(TokioTimer::new())
            // A date says nothing to a client of gRPC, and is bytes and work in each answer.
            .auto_date_header(false)
            .max_header_list_size(self.limits.max_header_bytes)
            .max_concurrent_streams(self.limits.max_calls_per_connection)
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(connection_window(self.limits.max_calls_per_connection))
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(self.limits.keepalive_interval)
            .keep_alive_timeout(self.limits.keepalive_timeout);
        http2
    }
}

fn connection_window(calls: u32) -> u32 {
    calls.saturating_mul(CONNECTION_WINDOW_PER_CALL).clamp(CALL_WINDOW, LARGEST_WINDOW)
}

/// A tenth more or less, by chance: clients that connected together do not all come back together.
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
