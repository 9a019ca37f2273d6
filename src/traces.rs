//! Spans for an OTLP collector: one span for each call, inside the trace of its caller, and inside it one span for each call to
//! the store.
//!
//! A call has spans only if its caller traces it and says so in `traceparent`. Spans wait in a bounded queue for a thread that
//! sends them. Spans that do not fit into the queue are dropped, so a slow or absent collector delays no call. The library takes
//! the times of spans from the machine's clock, but nothing is decided by them.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt as _, WithContext},
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
        SpanExporter as Exporter,
    },
};
use tonic::Code;

/// Maximum number of spans that wait to be sent.
const QUEUE_SPANS: usize = 8_192;

/// Maximum number of spans in a batch.
const BATCH_SPANS: usize = 512;

/// Interval at which spans are sent, if no batch is full before.
const SEND_INTERVAL: Duration = Duration::from_secs(1);

/// Timeout for sending a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for sending the remaining spans at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(900);

/// Maximum length of a span's name. Paths of the contract are shorter; longer paths are cut off.
const MAX_NAME_BYTES: usize = 100;

/// Makes spans and sends them.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// The span of a call.
#[derive(Debug)]
pub struct CallSpan(Context);

/// The span of a call to the store. It ends when it is dropped.
#[derive(Debug)]
pub struct StoreSpan(Span);

impl Traces {
    /// Starts to send spans to the collector at this URL, over gRPC. Must be called in a tokio runtime, which does the sending.
    ///
    /// # Errors
    /// Fails if the URL is invalid.
    pub fn begin(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(SEND_TIMEOUT).build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(BATCH_SPANS)
            .with_scheduled_delay(SEND_INTERVAL)
            .build();
        let sending = Sending { exporter, is_lost: AtomicBool::new(false) };
        let processor = BatchSpanProcessor::builder(sending).with_batch_config(batches).build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("tollgate").with_attribute(version).build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("tollgate");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// Begins the span of a call, if its caller traces it.
    pub fn call(&self, path: &str, headers: &HeaderMap) -> Option<CallSpan> {
        if !headers.contains_key("traceparent") {
            return None;
        }
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        if !parent.span().span_context().is_sampled() {
            return None;
        }
        let name = path.strip_prefix('/').unwrap_or(path);
        let name = name.get(..MAX_NAME_BYTES).unwrap_or(name).to_owned();
        let (service, method) = name.split_once('/').unwrap_or((name.as_str(), ""));
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
        ];
        let span = self.tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = self.tracer.build_with_context(span, &parent);
        Some(CallSpan(parent.with_span(span)))
    }

    /// Adds the decision to the span of the current call.
    pub fn decided(&self, outcome: &'static str, reason: Option<&'static str>, basis: Option<&'static str>) {
        Context::map_current(|context| {
            let span = context.span();
            if !span.is_recording() {
                return;
            }
            span.set_attribute(KeyValue::new("tollgate.outcome", outcome));
            let more = [("tollgate.reason", reason), ("tollgate.basis", basis)];
            more.into_iter()
                .filter_map(|(name, value)| Some(KeyValue::new(name, value?)))
                .for_each(|attribute| span.set_attribute(attribute));
        });
    }

    /// Begins the span of a call to the store, if the current call has a span.
    pub fn store_call(&self, call: &'static str) -> Option<StoreSpan> {
        Context::map_current(|context| {
            let is_traced = context.span().is_recording();
            is_traced.then(|| {
                let attributes = [KeyValue::new("tollgate.store_call", call)];
                let span = self.tracer.span_builder("store").with_kind(SpanKind::Client).with_attributes(attributes);
                StoreSpan(self.tracer.build_with_context(span, context))
            })
        })
    }

    /// Sends the remaining spans, if the collector accepts them in time, and stops.
    pub async fn end(&self) {
        let provider = self.provider.clone();
        // It waits for the sending thread. `Sending` has logged how that went.
        let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)).await;
    }
}

impl CallSpan {
    /// Runs work inside the span of the call.
    pub fn carry<Work: Future>(&self, work: Work) -> WithContext<Work> {
        work.with_context(self.0.clone())
    }

    /// Ends the span with the code of the response.
    pub fn answered(self, code: Code) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if is_server_error(code) {
            span.set_status(Status::error(code.description()));
        }
        span.end();
    }
}

impl StoreSpan {
    /// Marks the call to the store as failed.
    pub fn failed(&mut self, error: &impl fmt::Display) {
        use opentelemetry::trace::Span as _;
        self.0.set_status(Status::error(error.to_string()));
    }
}

/// Runs work inside the current span, even after the call that began it has ended.
pub fn in_current_span<Work: Future>(work: Work) -> WithContext<Work> {
    work.with_current_context()
}

/// Returns whether a code is a server error by the conventions of OpenTelemetry.
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Traces")
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Sends spans. Logs once when sending begins to fail, and once when it works again.
#[derive(Debug)]
struct Sending {
    exporter: SpanExporter,
    is_lost: AtomicBool,
}

impl Exporter for Sending {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(spans).await;
        let was_lost = self.is_lost.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_lost => {
                tracing::warn!(%error, "the collector does not accept spans; dropping them")
            }
            Ok(()) if was_lost => tracing::info!("the collector accepts spans again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
