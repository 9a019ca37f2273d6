//! Spans for an OTLP collector: one of a call, inside the trace of whoever made it, and in it one of each call to the store.
//!
//! Only a call whose caller traces it has spans: it says so in its `traceparent`. Of all others nothing is made. Spans wait in a
//! bounded queue for a thread of their own, which sends them, and what does not fit is dropped: a collector that is slow or gone
//! keeps no call waiting. When spans begin and end is the library's reading of the machine's clock, by which nothing is decided.

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

/// So many spans wait to be sent at most.
const WAITING: usize = 8_192;

/// So many are sent at once.
const AT_ONCE: usize = 512;

/// So often they are sent, if no batch is full before.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// So long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(2);

/// So long it may take for what is left when the sidecar ends.
const LAST_PATIENCE: Duration = Duration::from_millis(900);

/// A path of this contract is shorter; of another one no more is told.
const LONGEST_NAME: usize = 100;

/// What makes spans, and sends them.
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
    /// Sends spans to the collector at this URL, over gRPC. To be called in a runtime of tokio, which does the sending.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn begin(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE).build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(AT_ONCE)
            .with_scheduled_delay(SEND_EVERY)
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

    /// The span of a call, if its caller traces it.
    pub fn call(&self, path: &str, headers: &HeaderMap) -> Option<CallSpan> {
        if !headers.contains_key("traceparent") {
            return None;
        }
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        if !parent.span().span_context().is_sampled() {
            return None;
        }
        let name = path.strip_prefix('/').unwrap_or(path);
        let name = name.get(..LONGEST_NAME).unwrap_or(name).to_owned();
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

    /// Says in the span of the call that this is part of what was decided.
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

    /// The span of a call to the store, if this is part of a call that has one.
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

    /// Sends what is left, if the collector takes it soon, and then nothing more.
    pub async fn end(&self) {
        let provider = self.provider.clone();
        // It waits for its thread. How that went was told by what sends.
        let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_PATIENCE)).await;
    }
}

impl CallSpan {
    /// What is done for the call, so that all of it belongs to its span.
    pub fn carry<Work: Future>(&self, work: Work) -> WithContext<Work> {
        work.with_context(self.0.clone())
    }

    /// The call is answered with this code.
    pub fn answered(self, code: Code) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if is_our_fault(code) {
            span.set_status(Status::error(code.description()));
        }
        span.end();
    }
}

impl StoreSpan {
    /// The store gave no answer.
    pub fn failed(&mut self, error: &impl fmt::Display) {
        use opentelemetry::trace::Span as _;
        self.0.set_status(Status::error(error.to_string()));
    }
}

/// What goes on after its call has gone belongs to its span as before.
pub fn in_current_span<Work: Future>(work: Work) -> WithContext<Work> {
    work.with_current_context()
}

/// Whether a code says that a server failed, as the conventions of OpenTelemetry see it.
fn is_our_fault(code: Code) -> bool {
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

/// Sends spans, and tells the log once when that does not work any more, and once when it does.
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
                tracing::warn!(%error, "the collector takes no spans; they are dropped until it does")
            }
            Ok(()) if was_lost => tracing::info!("the collector takes spans again"),
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
