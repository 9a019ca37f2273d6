//! One new connection to the server. The size of its replies is bounded.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    aio::MultiplexedConnection,
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::reply_limit::LimitedReplies;

/// A connection to the server. Clones share it, and it is closed when the last one is dropped.
#[derive(Clone)]
pub(super) struct ServerConnection {
    requests: MultiplexedConnection,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl Deref for ServerConnection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.requests
    }
}

impl DerefMut for ServerConnection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.requests
    }
}

/// Connects to the server, without a timeout: the caller applies one.
pub(super) async fn connect(client: &Client) -> Result<ServerConnection, RedisError> {
    let info = client.get_connection_info();
    let redis = info.redis_settings();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => start(redis, TcpStream::connect((host.as_str(), *port)).await?).await,
        ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::new(tls_config()?));
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            start(redis, connector.connect(name, stream).await?).await
        }
        ConnectionAddr::Unix(path) => start(redis, UnixStream::connect(path).await?).await,
        _ => {
            Err((ErrorKind::InvalidClientConfig, "a connection without a check of the certificate is not supported")
                .into())
        }
    }
}

/// Logs in on a stream, and starts the task that sends requests and receives replies.
async fn start<S>(info: &RedisConnectionInfo, stream: S) -> Result<ServerConnection, RedisError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let (requests, driver) = MultiplexedConnection::new_with_config(info, LimitedReplies::new(stream), config).await?;
    Ok(ServerConnection { requests, _driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))) })
}

/// Returns the TLS configuration, which trusts the certificates of the system, or those that `SSL_CERT_FILE` names.
fn tls_config() -> Result<ClientConfig, io::Error> {
    let mut found = rustls_native_certs::load_native_certs();
    if let Some(error) = found.errors.pop() {
        return Err(io::Error::other(error));
    }
    let mut trusted = RootCertStore::empty();
    for certificate in found.certs {
        trusted.add(certificate).map_err(io::Error::other)?;
    }
    Ok(ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth())
}
