//! One new connection to the server.

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};

/// Connects to the server, without a timeout: the caller applies one.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}
