//! The probe listener: health for the kubelet and `/metrics` for Prometheus, in plaintext, over HTTP/1.1 and HTTP/2.
//!
//! It shares no limit with the other listeners: it answers when they are full, before the store is open, and until the process
//! ends.

use std::{
    convert::Infallible,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{AbortOnDropHandle, TaskTracker},
};
use tonic::{body::Body, service::Routes};
use tonic_health::pb::health_server;
use tower::{BoxError, Service, ServiceExt as _};

use super::{
    listener::{Listener, Reach},
    server::ListenerServer,
};
use crate::{
    address::ListenAddress,
    metrics::{self, Metrics},
    serve::{
        connections::{Eviction, Protocol},
        error::ListenError,
        limits::Limits,
    },
};

/// Maximum number of connections. A kubelet opens one for each probe, and a Prometheus keeps one open.
pub(in crate::serve) const MAX_CONNECTIONS: u32 = 64;

/// Maximum number of calls of one connection, watches among them.
const MAX_CALLS_PER_CONNECTION: u32 = 16;

/// A probe listener, which serves until this is dropped.
#[derive(Debug)]
pub(in crate::serve) struct Probe {
    address: ListenAddress,
    _serving: AbortOnDropHandle<()>,
    _connections: DropGuard,
}

/// A bound probe listener that does not serve yet.
#[derive(Debug)]
pub(in crate::serve) struct ProbeListener(Listener);

impl ProbeListener {
    /// Binds the listener. Other machines may reach it: it gives away nothing but health and numbers.
    pub(in crate::serve) async fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        if let ListenAddress::Unix(_) = address {
            let tcp_only = io::Error::new(io::ErrorKind::Unsupported, "probes come by TCP, not over a socket");
            return Err(ListenError::refused(address, tcp_only));
        }
        Listener::bind(address, Reach::Anywhere).await.map(Self)
    }

    /// Serves from now on.
    pub(in crate::serve) fn serve(
        self,
        health: health_server::HealthServer<impl health_server::Health>,
        metrics: Arc<Metrics>,
    ) -> Probe {
        let Self(listener) = self;
        let limits = limits();
        let max_message_bytes = usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX);
        let health = Routes::new(health.max_decoding_message_size(max_message_bytes)).prepare();
        let service = Routes::default().into_axum_router().fallback_service(ProbeService { health, metrics });
        let everything = CancellationToken::new();
        let server = ListenerServer {
            accepting: everything.child_token(),
            everything: everything.clone(),
            limits,
            protocol: Protocol::Http1AndHttp2,
            eviction: Eviction::Oldest,
            connections: TaskTracker::new(),
            metrics: None,
            traces: None,
        };
        Probe {
            address: listener.address().clone(),
            _serving: AbortOnDropHandle::new(tokio::spawn(server.serve(Routes::from(service), listener))),
            _connections: everything.drop_guard(),
        }
    }
}

impl Probe {
    /// Returns the address, with the port that was bound if the configured port is 0.
    pub(in crate::serve) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

fn limits() -> Limits {
    Limits {
        // A request names a service.
        max_message_bytes: 1_024,
        max_header_bytes: 8 * 1_024,
        max_calls_per_connection: MAX_CALLS_PER_CONNECTION,
        // The connections bound the calls.
        max_calls: MAX_CONNECTIONS * MAX_CALLS_PER_CONNECTION,
        max_streams: MAX_CONNECTIONS * MAX_CALLS_PER_CONNECTION,
        max_connections: MAX_CONNECTIONS,
        // Prometheus scrapes each minute or more often, and keeps its connection between two scrapes.
        handshake_timeout: Duration::from_secs(75),
        max_connection_age: Duration::MAX,
        ..Limits::default()
    }
}

/// Answers the requests of probes.
#[derive(Clone)]
struct ProbeService {
    health: Routes,
    metrics: Arc<Metrics>,
}

impl<B> Service<Request<B>> for ProbeService
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"));
        let response = match request.uri().path() {
            "/metrics" if is_read => scrape(&self.metrics),
            _ if is_grpc => return Box::pin(self.health.clone().oneshot(request)),
            _ => text(StatusCode::NOT_FOUND, "There is gRPC health here, and GET /metrics.\n".to_owned()),
        };
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn scrape(metrics: &Metrics) -> Response<Body> {
    match metrics.text() {
        Ok(metrics) => {
            let mut response = text(StatusCode::OK, metrics);
            let content_type = header::HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            text(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n".to_owned())
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
