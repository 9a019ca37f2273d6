//! The listener of its own for whoever looks after the process: health for the kubelet, `/metrics` for Prometheus, nothing else.
//!
//! It speaks plaintext, HTTP/1.1 and HTTP/2, and shares no room with the other listeners: it answers when they are full, while the
//! store is opened, and until the process ends. Whoever comes too many pushes out the connection that is oldest, so that nobody keeps
//! the kubelet out by holding on.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{body::Body, service::Routes};
use tonic_health::pb::health_server;
use tower::ServiceExt as _;

use crate::{
    address::ListenAddress,
    clock::Clock,
    metrics::{self, Metrics},
    serve::{error::ListenError, log_throttle::LogThrottle},
};

/// So many connections at once: a kubelet opens one for each probe, a Prometheus keeps one.
pub(in crate::serve) const MAX_CONNECTIONS: usize = 64;

/// So many calls of one connection, watches among them.
const MAX_CALLS: u32 = 16;

/// The longest request, which names a service.
const MAX_MESSAGE_BYTES: usize = 1_024;

/// The largest list of headers, and the buffer for those of HTTP/1.1.
const MAX_HEADER_BYTES: u32 = 8 * 1_024;

/// How long a client of HTTP/1.1 may take for its headers, or be silent between two requests. Prometheus comes again each minute or
/// sooner, and connects anew if it has to.
const HEADERS: Duration = Duration::from_secs(75);

/// A silent connection of HTTP/2 is asked so often whether its client is still there, and so long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long to wait before accepting again when the system could not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listener for probes, until it is dropped.
#[derive(Debug)]
pub(in crate::serve) struct Probe {
    address: ListenAddress,
    _serving: AbortOnDropHandle<()>,
}

/// A bound port that nobody is answered on yet.
#[derive(Debug)]
pub(in crate::serve) struct ProbeListener {
    listener: TcpListener,
    address: ListenAddress,
}

impl ProbeListener {
    /// Binds it. Other machines may well reach it: there is nothing to be had there but health and numbers.
    pub(in crate::serve) async fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        let refused = |source| ListenError::refused(address, source);
        let ListenAddress::Tcp { host, port } = address else {
            return Err(refused(io::Error::new(io::ErrorKind::Unsupported, "a probe comes by TCP, not by a socket")));
        };
        let listener = TcpListener::bind((host.as_str(), *port)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?.into();
        Ok(Self { listener, address })
    }

    /// Answers from now on.
    pub(in crate::serve) fn serve(
        self,
        health: health_server::HealthServer<impl health_server::Health>,
        metrics: Arc<Metrics>,
    ) -> Probe {
        let routes = Routes::new(health.max_decoding_message_size(MAX_MESSAGE_BYTES)).prepare();
        let answering = Arc::new(Answering { routes, metrics });
        let Self { listener, address } = self;
        Probe { address, _serving: AbortOnDropHandle::new(tokio::spawn(accept(listener, answering))) }
    }
}

impl Probe {
    /// Where it listens: with the port that was bound, if any port would do.
    pub(in crate::serve) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

struct Answering {
    routes: Routes,
    metrics: Arc<Metrics>,
}

impl Answering {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
        match request.uri().path() {
            "/metrics" if is_reading => Ok(self.metrics()),
            _ if is_grpc => self.routes.clone().oneshot(request.map(Body::new)).await,
            _ => Ok(said(StatusCode::NOT_FOUND, "There is gRPC health here, and GET /metrics.\n".to_owned())),
        }
    }

    fn metrics(&self) -> Response<Body> {
        match self.metrics.text() {
            Ok(text) => {
                let mut response = said(StatusCode::OK, text);
                let content_type = header::HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                said(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n".to_owned())
            }
        }
    }
}

fn said(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

async fn accept(listener: TcpListener, answering: Arc<Answering>) {
    let present = Arc::new(Present::default());
    let (clock, failed) = (Clock::default(), LogThrottle::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = present.enter();
                tokio::spawn(attend(stream, place, Arc::clone(&answering)));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                if let Some(times) = failed.happened(&clock) {
                    tracing::warn!(%error, times, "cannot accept connections of probes");
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves one connection until it ends, or makes way.
async fn attend(stream: TcpStream, place: Place, answering: Arc<Answering>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    let answer = service_fn(move |request| Arc::clone(&answering).answer(request));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        ended = &mut served => {
            if let Err(error) = ended {
                tracing::debug!(error, "a connection of a probe failed");
            }
        }
        () = place.makes_way.cancelled() => tracing::debug!("a connection of a probe makes way for a newer one"),
    }
}

/// The connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Present(Mutex<VecDeque<CancellationToken>>);

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
struct Place {
    present: Arc<Present>,
    makes_way: CancellationToken,
}

impl Present {
    /// A place for one more: there always is one.
    fn enter(self: &Arc<Self>) -> Place {
        let makes_way = CancellationToken::new();
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if present.len() >= MAX_CONNECTIONS
            && let Some(oldest) = present.pop_front()
        {
            oldest.cancel();
        }
        present.push_back(makes_way.clone());
        Place { present: Arc::clone(self), makes_way }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that makes way is no longer among them.
        if !self.makes_way.is_cancelled() {
            // Nobody else cancels it, so that it can be told from the others by that.
            self.makes_way.cancel();
            self.present.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.is_cancelled());
        }
    }
}
