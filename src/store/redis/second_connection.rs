//! A connection for PING alone. It shows whether a late answer on the shared connection is due to a slow server.

use redis::{Client, ErrorKind, RedisError, aio::MultiplexedConnection};

use super::connect::{ServerConnection, connect};

/// A second connection to the server. It stays open, so that a PING takes one round trip, also with TLS.
pub(super) struct SecondConnection {
    client: Client,
    /// `None` before the first PING, and after one that was not answered.
    connection: Option<ServerConnection>,
}

impl SecondConnection {
    /// Prepares a connection. The first PING opens it.
    pub(super) fn new(client: Client) -> Self {
        Self { client, connection: None }
    }

    /// Sends PING, without a timeout: the caller applies one. If the connection is broken, tries again on a new one. If
    /// the future is dropped before the answer, the connection is closed.
    pub(super) async fn ping(&mut self) -> Result<(), RedisError> {
        if let Some(mut kept) = self.connection.take()
            && ping(&mut kept).await.is_ok()
        {
            self.connection = Some(kept);
            return Ok(());
        }
        let answered = async {
            let mut connection = connect(&self.client).await?;
            ping(&mut connection).await?;
            Ok(connection)
        };
        match answered.await {
            Ok(connection) => self.connection = Some(connection),
            // The server answers, although with an error: it has no room for this connection, for example.
            Err(error) if matches!(RedisError::kind(&error), ErrorKind::Server(_) | ErrorKind::Extension) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Sends PING on a connection, without a timeout: the caller applies one.
pub(super) async fn ping(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    redis::cmd("PING").query_async(connection).await
}
