//! Spans of calls inside their callers' traces, as a real collector receives and forwards them, and calls without a working
//! collector.

use std::{
    io::{Read as _, Seek as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use tollgate::store::StoreLocation;
use tonic::{Code, Request};

use crate::suite::support::{
    client::{block, team_without_seat},
    servers::{Engine, Server},
    sidecar::Sidecar,
    tool, wait_for, wait_until,
};

const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// Returns a request that belongs to a trace of its caller.
fn in_trace<T>(message: T, trace: &str, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", format!("00-{trace}-{CALLERS_SPAN}-{flags}").parse().unwrap());
    request
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Receives the spans that the collector forwards.
#[derive(Clone, Default)]
struct Forwarded(Arc<Mutex<Vec<Span>>>);

impl Forwarded {
    /// Listens until the test ends, and returns the address.
    fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let forwarded = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let forwarded = forwarded.clone();
                std::thread::spawn(move || while forwarded.take(stream.as_ref().unwrap()).is_some() {});
            }
        });
        address
    }

    /// Reads one HTTP/1.1 request.
    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let request = ExportTraceServiceRequest::decode(&unzipped(body)[..]).unwrap();
        let spans = request.resource_spans.into_iter().flat_map(|of_resource| of_resource.scope_spans);
        self.0.lock().unwrap().extend(spans.flat_map(|of_scope| of_scope.spans));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()
    }

    fn of_trace(&self, trace: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }

    fn all(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Unzips a body, because the collector compresses even if it is configured not to.
fn unzipped(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let unzipped = Command::new("gzip").arg("-dc").stdin(file).output().unwrap();
    assert!(unzipped.status.success(), "{unzipped:?}");
    unzipped.stdout
}

/// A collector that forwards what it receives.
struct Collector {
    address: String,
    child: Child,
}

impl Collector {
    fn start(forward_to: &str) -> Self {
        // Another process can take the port before the collector binds it. Then the collector ends at once.
        for _ in 0..5 {
            let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let (address, other) = (free(), free());
            let child = Command::new(tool("rotel"))
                .args(["start", "--otlp-grpc-endpoint", &address, "--otlp-http-endpoint", &other])
                .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
                .args(["--otlp-exporter-endpoint", &format!("http://{forward_to}")])
                .args(["--otlp-exporter-compression", "none"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut collector = Self { address, child };
            let listens = |address: &str| TcpStream::connect(address).is_ok();
            wait_until("the collector listens", || listens(&collector.address) || collector.has_ended());
            if !collector.has_ended() {
                return collector;
            }
        }
        panic!("found no free ports");
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The span of a call is inside its caller's trace, and the spans of store calls are inside the call.
#[tokio::test]
async fn spans_nest_in_the_callers_trace() {
    let forwarded = Forwarded::default();
    let collector = Collector::start(&forwarded.listen());
    let endpoint = format!("--otlp-endpoint=http://{}", collector.address);
    let server = Server::start(Engine::Redis);
    let mut sidecar = Sidecar::start_with(&server.location(), &[&endpoint]);
    let client = sidecar.client();
    client.put_team(team_without_seat("team", 30)).await;
    let (reserve, commit, suspend) =
        ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737", "4bf92f3577b34da6a3ce929d0e0e4738");
    let (by_tonic, unsampled) = ("4bf92f3577b34da6a3ce929d0e0e4739", "4bf92f3577b34da6a3ce929d0e0e473a");
    let mut quota = client.quota.clone();
    quota.check_and_reserve(in_trace(block("team", "r1", "gpt-4"), reserve, "01")).await.unwrap();
    quota.check_and_reserve(in_trace(block("team", "r2", "gpt-4"), suspend, "01")).await.unwrap();
    quota.check_and_reserve(in_trace(block("team", "r3", "gpt-4o"), unsampled, "00")).await.unwrap();
    quota.check_and_reserve(block("team", "r4", "gpt-4o")).await.unwrap();
    let of_commit = tollgate::proto::v1::CommitRequest {
        team_id: "team".to_owned(),
        reservation_id: "r1".to_owned(),
        ..Default::default()
    };
    quota.commit(in_trace(of_commit, commit, "01")).await.unwrap();
    let nobody = tollgate::proto::v1::GetTeamRequest { team_id: "nobody".to_owned() };
    let mut accounts = client.accounts.clone();
    assert_eq!(accounts.get_team(in_trace(nobody, by_tonic, "01")).await.unwrap_err().code(), Code::NotFound);
    // Waiting spans are sent before the sidecar ends.
    sidecar.signal("TERM");
    wait_until("the sidecar ends", || sidecar.ended().is_some());

    for (trace, method, outcome, basis, reason) in [
        (reserve, "tollgate.v1.QuotaService/CheckAndReserve", Some("proceed"), Some("allotment"), None),
        (suspend, "tollgate.v1.QuotaService/CheckAndReserve", Some("suspend"), None, Some("blocks_stopped")),
        (commit, "tollgate.v1.QuotaService/Commit", None, None, None),
        (by_tonic, "tollgate.v1.AccountService/GetTeam", None, None, None),
    ] {
        let found = || async { Some(forwarded.of_trace(trace)).filter(|spans| !spans.is_empty()) };
        let spans = wait_for("spans at the collector", found).await;
        let (calls, of_store): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.kind() == SpanKind::Server);
        let [call] = calls[..] else { panic!("{trace}: {spans:?}") };
        assert_eq!((call.name.as_str(), hex(&call.parent_span_id).as_str()), (method, CALLERS_SPAN));
        let reported = ["outcome", "basis", "reason"].map(|name| text(call, &format!("tollgate.{name}")));
        assert_eq!(reported, [outcome, basis, reason], "{method}");
        assert!(!of_store.is_empty(), "{method}");
        for span in of_store {
            assert_eq!((span.name.as_str(), &span.parent_span_id), ("store", &call.span_id), "{method}");
        }
    }
    assert!(forwarded.of_trace(unsampled).is_empty());
    let of_callers = [reserve, suspend, commit, by_tonic].map(|trace| forwarded.of_trace(trace).len());
    assert_eq!(forwarded.all(), of_callers.iter().sum::<usize>(), "and nothing that no caller traces");
}

/// Calls are served although the collector is absent or never answers.
#[tokio::test]
async fn calls_do_not_wait_for_a_collector() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), nowhere] {
        let endpoint = format!("--otlp-endpoint=http://{address}");
        let mut sidecar = Sidecar::start_with(&StoreLocation::Memory, &[&endpoint]);
        let client = sidecar.client();
        client.put_team(team_without_seat("team", 1_000_000)).await;
        // More spans than the queue holds.
        for call in 0..10_000 {
            let trace = format!("{:032x}", call + 1);
            let request = in_trace(block("team", &format!("r{call}"), "gpt-4o"), &trace, "01");
            client.quota.clone().check_and_reserve(request).await.unwrap();
        }
        wait_until("the log reports it", || sidecar.stderr().contains("the collector does not accept spans"));
        sidecar.signal("TERM");
        wait_until("the sidecar ends", || sidecar.ended().is_some());
        assert_eq!(sidecar.ended().unwrap().code(), Some(0));
        assert_eq!(sidecar.stderr().matches("the collector does not accept spans").count(), 1, "{}", sidecar.stderr());
    }
}
