//! The first connection to a server, at the start of a sidecar. If it fails, the error names the cause for the operator.

use std::time::Duration;

use redis::{Client, ConnectionAddr, RedisError};
use tokio::{net::lookup_host, time::timeout};

use super::{
    super::{error::OpenError, location::StoreLocation},
    connect::{ServerConnection, connect},
    requirements::ServerRequirements,
    server_failure::ServerFailure,
    unfit_server::login_error,
};

/// Timeout of the connection. It suffices for a TLS handshake with a busy server in the same region.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The words of the client library for a server that refuses the database of the URL.
const DATABASE_REFUSED: &str = "refused to switch database";

/// Why the connection failed.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// The name of the host has no address.
    #[error("host name not found ({0})")]
    HostNotFound(std::io::Error),
    /// The server has not answered.
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    /// The system or the server refused the connection.
    #[error("{}", cause_of(.0))]
    Failed(#[source] RedisError),
}

/// Connects to the server. On failure, returns the error for the operator who starts the sidecar.
pub(super) async fn connect_first(
    client: &Client,
    requirements: &ServerRequirements,
) -> Result<ServerConnection, OpenError> {
    let location = &requirements.location;
    let error = match try_connect(client).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if error.is_about_database() {
        // A Sentinel, a node of a cluster, and a server that requires a password refuse every database but the first. What
        // they are says more than the database.
        let info = client.get_connection_info();
        let first_database = info.redis_settings().clone().set_db(0);
        if let Ok(client) = Client::open(info.clone().set_redis_settings(first_database))
            && let Ok(mut connection) = try_connect(&client).await
            && let Err(unfit) = requirements.check(&mut connection).await
        {
            return Err(unfit.into_open_error(location));
        }
    }
    Err(error.into_open_error(location))
}

async fn try_connect(client: &Client) -> Result<ServerConnection, ConnectError> {
    let connecting = async {
        // The error of the connection itself would not tell a name from a server.
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } =
            client.get_connection_info().addr()
        {
            let _ = lookup_host((host.as_str(), *port)).await.map_err(ConnectError::HostNotFound)?;
        }
        connect(client).await.map_err(ConnectError::Failed)
    };
    timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(ConnectError::TimedOut))
}

impl ConnectError {
    /// Returns whether the server refuses the database of the URL.
    fn is_about_database(&self) -> bool {
        // A full server and one that asks for a password can give their refusal as the answer to the first command.
        matches!(self, Self::Failed(error) if error.to_string().contains(DATABASE_REFUSED)
            && ServerFailure::from_error(error).is_none())
    }

    fn into_open_error(self, location: &StoreLocation) -> OpenError {
        if let Self::Failed(error) = &self
            && let Some(refusal) = login_error(error, location)
        {
            return refusal;
        }
        if self.is_about_database() {
            return OpenError::unfit_because(
                format!("{location} cannot be used: {self}. The number after the host is the database."),
                self,
            );
        }
        OpenError::unreachable(format!("{location} cannot be reached: {self}."), self)
    }
}

fn cause_of(error: &RedisError) -> String {
    let text = error.to_string();
    if text.contains(DATABASE_REFUSED) {
        let detail = error.detail().unwrap_or_default();
        let is_too_high = ["out of range", "not allowed in cluster mode"].iter().any(|words| detail.contains(words));
        return if is_too_high {
            "database index out of range".to_owned()
        } else {
            format!("its server refuses to switch to the database ({detail})")
        };
    }
    match error.is_connection_refusal() {
        true if text.contains("No such file") => "there is no such socket".to_owned(),
        true => "connection refused".to_owned(),
        false => text,
    }
}
