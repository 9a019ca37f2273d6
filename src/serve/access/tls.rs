//! TLS of a listener: its certificate, the authorities whose clients it accepts, and the handshake with a client.

use std::{fmt, io::ErrorKind, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    AccessError, Clients, TlsFiles,
    identity::{self, ClientName},
    reloaded::{NamedFile, Reloaded},
};
use crate::{
    clock::Clock,
    serve::log_throttle::LogThrottle,
    service::{AllowedTeams, Caller},
};

/// Maximum number of encrypted bytes that wait to be sent. The bytes that are not yet encrypted are bounded by HTTP/2.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// How long a refused client may take to read the reason.
const READ_REASON: Duration = Duration::from_secs(1);

/// TLS of a listener.
#[derive(Clone)]
pub(in crate::serve) struct Tls {
    config: Arc<Reloaded<TlsConfig>>,
    clients: Option<Arc<Clients>>,
    asks_clients: bool,
    failures: Arc<HandshakeFailures>,
}

/// The configuration that rustls makes from the files.
pub(super) type TlsConfig = Arc<ServerConfig>;

/// The handshake with one client, with the files as they are now.
pub(in crate::serve) struct Handshake {
    config: TlsConfig,
    clients: Option<Arc<Clients>>,
    failures: Arc<HandshakeFailures>,
}

/// Logs failed handshakes.
struct HandshakeFailures {
    clock: Clock,
    throttle: LogThrottle,
}

/// A client that has completed its handshake.
pub(in crate::serve) struct TlsClient {
    pub(in crate::serve) stream: Box<TlsStream<TcpStream>>,
    /// The first name in its certificate, if it has one.
    pub(in crate::serve) name: Option<String>,
    pub(in crate::serve) teams: AllowedTeams,
}

impl Tls {
    /// Returns the handshake for the next client.
    pub(in crate::serve) fn handshake(&self) -> Handshake {
        Handshake {
            config: Arc::clone(&self.config.current()),
            clients: self.clients.clone(),
            failures: Arc::clone(&self.failures),
        }
    }

    /// Returns whether clients need certificates.
    pub(in crate::serve) fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    pub(super) fn config(&self) -> Arc<Reloaded<TlsConfig>> {
        Arc::clone(&self.config)
    }
}

// Shows no keys.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("asks_clients", &self.asks_clients).finish_non_exhaustive()
    }
}

impl Handshake {
    /// Performs the handshake, or returns `None` if it fails. It may take as long as the client likes; the registry of
    /// connections ends it after the handshake timeout.
    pub(in crate::serve) async fn accept(self, stream: TcpStream, peer: &Caller) -> Option<TlsClient> {
        let bounded = |connection: &mut rustls::ServerConnection| connection.set_buffer_limit(Some(SEND_BUFFER_BYTES));
        let stream = match TlsAcceptor::from(self.config).accept_with(stream, bounded).into_fallible().await {
            Ok(stream) => Box::new(stream),
            Err((error, stream)) => {
                self.failures.log(peer, &error);
                // Read or not, there is nothing left to do for it.
                let _ = timeout(READ_REASON, shut_down(stream)).await;
                return None;
            }
        };
        let (_, connection) = stream.get_ref();
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map(|certificate| identity::names(certificate)).unwrap_or_default();
        let teams = self.clients.map_or(AllowedTeams::All, |clients| clients.teams_of(&names));
        Some(TlsClient { stream, name: names.first().map(ClientName::to_string), teams })
    }
}

/// Closes a connection so that its client can read the reason. If it were closed while something is unread, the system would
/// discard the last bytes that were sent.
async fn shut_down(mut stream: TcpStream) {
    let mut dropped = [0; 1_024];
    if stream.shutdown().await.is_ok() {
        while stream.read(&mut dropped).await.is_ok_and(|length| length > 0) {}
    }
}

impl HandshakeFailures {
    /// Logs why a client was refused, because TLS tells the client little.
    fn log(&self, peer: &Caller, error: &std::io::Error) {
        // A client that only tested the port, or disconnected, is not worth a warning.
        let is_refused = error.kind() == ErrorKind::InvalidData;
        match is_refused.then(|| self.throttle.record(&self.clock)).flatten() {
            Some(times) => tracing::warn!(%peer, %error, times, "refusing a client"),
            None => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        }
    }
}

/// Reads the files, if any are configured, and again when they change.
pub(super) async fn read(
    files: &TlsFiles,
    settings: [&'static str; 3],
    clients: Option<Arc<Clients>>,
    clock: &Clock,
) -> Result<Option<Tls>, AccessError> {
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else { return Ok(None) };
    let paths = [Some(certificate), Some(key), files.client_ca.as_ref()];
    let named = settings.into_iter().zip(paths);
    let files = named.filter_map(|(setting, path)| Some(NamedFile { setting, path: path?.clone() })).collect();
    let asks_clients = paths[2].is_some();
    let time = Arc::new(CertificateClock(clock.clone()));
    let make = move |files: &[NamedFile], contents: &[Vec<u8>]| configure(files, contents, Arc::clone(&time));
    let what = if settings[0].starts_with("listen") {
        "the certificate of the data listener"
    } else {
        "the certificate of the admin listener"
    };
    let config = Reloaded::read(what, files, Box::new(make)).await?;
    let failures = Arc::new(HandshakeFailures { clock: clock.clone(), throttle: LogThrottle::default() });
    Ok(Some(Tls { config, clients, asks_clients, failures }))
}

/// Makes the configuration from the files: a certificate, its key, and optionally the authorities of clients.
fn configure(files: &[NamedFile], contents: &[Vec<u8>], time: Arc<CertificateClock>) -> Result<TlsConfig, AccessError> {
    let unusable = |place: usize, cause: String| {
        let (setting, file) = files.get(place).map_or_else(Default::default, |file| (file.setting, file.path.clone()));
        AccessError::Unusable { setting, file, cause }
    };
    let read = |place: usize| contents.get(place).map_or(&[][..], Vec::as_slice);
    let chain = certificates(read(0)).map_err(|cause| unusable(0, cause))?;
    let key = PrivateKeyDer::from_pem_slice(read(1))
        .map_err(|_| unusable(1, "has no private key in PEM that is not encrypted".to_owned()))?;
    let provider = Arc::new(ring::default_provider());
    let clients: Arc<dyn ClientCertVerifier> = match contents.get(2) {
        Some(authorities) => verifier(authorities, &provider).map_err(|cause| unusable(2, cause))?,
        None => Arc::new(NoClientAuth),
    };
    let broken = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            unusable(1, format!("is not the key of the certificate in {}", files[0].path.display()))
        }
        error => unusable(0, format!("cannot be used: {error}")),
    };
    let builder = ServerConfig::builder_with_details(provider, time).with_safe_default_protocol_versions();
    let mut config =
        builder.map_err(broken)?.with_client_cert_verifier(clients).with_single_cert(chain, key).map_err(broken)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Sessions are not resumed. So each connection shows its certificate, and an expired one is noticed at the next connection.
    // TLS 1.3 resumes by tickets, TLS 1.2 by sessions that the server stores.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("has no certificate in PEM".to_owned()),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

fn verifier(authorities: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots.add(certificate).map_err(|error| format!("has a certificate that cannot be an authority: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| format!("cannot be used: {error}"))
}

/// The clock that decides whether certificates are valid.
#[derive(Debug)]
struct CertificateClock(Clock);

impl TimeProvider for CertificateClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = Duration::from_millis(u64::try_from(self.0.now_ms()).ok()?);
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}
