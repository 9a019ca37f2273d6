//! The watcher of one server: it detects that the server is away even if there are no calls, and reconnects.
//!
//! While the server is up, the watcher sends PING, and from time to time checks whether the server still meets the
//! requirements. While the server is away, it tries new connections. It puts a new connection in place only after the
//! server has passed its checks and carried out writes as fast as calls must be answered.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::time::{sleep, timeout};

use super::{
    super::health::StoreHealth,
    capability_check::{Capabilities, check_capabilities},
    probe_error::ProbeError,
    requirements::ServerRequirements,
    server_failure::ServerFailure,
    shared_connection::SharedConnection,
};
use crate::clock::Clock;

/// Interval between two PINGs to a server that is up: the longest time for which an outage stays unnoticed without
/// calls.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Interval between two checks of the requirements, in milliseconds: the longest time for which a server that was just
/// configured to evict records is still used.
const CHECK_INTERVAL_MS: i64 = 5_000;

/// Pause between the first two attempts to reconnect. Later pauses are up to four times as long. A server that rejects
/// every attempt is thus not flooded, and a server that is back is found within two seconds.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// Minimum timeout of each step of an attempt to reconnect. It suffices for a TLS handshake with a busy server. It is
/// well below the two seconds in which a server that is back must be found, because a step whose packets were lost is
/// retried only after its timeout.
const MIN_STEP_TIMEOUT: Duration = Duration::from_secs(1);

/// Detects outages, and reconnects.
pub(super) struct Watcher {
    /// The connection that calls use.
    pub(super) connection: Arc<SharedConnection>,
    /// The client by which to connect.
    pub(super) client: Client,
    /// The requirements on the server.
    pub(super) requirements: ServerRequirements,
    /// How long a call waits for its answer.
    pub(super) call_timeout: Duration,
}

/// Connects to the server, without a timeout: the caller applies one.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Watcher {
    /// Watches the server until the future is dropped.
    pub(super) async fn watch(self) {
        let mut checked_ms = Clock::System.monotonic_ms();
        let mut logged_advice = None;
        let mut attempts = 0;
        loop {
            match self.connection.health() {
                StoreHealth::Up => {
                    logged_advice = None;
                    attempts = 0;
                    // A call that fails interrupts the interval.
                    if timeout(PING_INTERVAL, self.connection.wait_for_failure()).await.is_ok() {
                        continue;
                    }
                    let is_check_due = Clock::System.monotonic_ms() - checked_ms >= CHECK_INTERVAL_MS;
                    self.ping(is_check_due).await;
                    if is_check_due {
                        checked_ms = Clock::System.monotonic_ms();
                    }
                }
                StoreHealth::RefusesChanges { .. } => {
                    sleep(PROBE_PAUSE).await;
                    self.try_write().await;
                }
                StoreHealth::Down { .. } => match self.probe().await {
                    Ok(()) => checked_ms = Clock::System.monotonic_ms(),
                    Err(error) => {
                        self.log_advice_once(&error, &mut logged_advice);
                        self.connection.report_failed_probe(error.failure().reason(), &error);
                        sleep(probe_pause(attempts)).await;
                        attempts += 1;
                    }
                },
            }
        }
    }

    /// Sends PING on the present connection, and checks the requirements if a check is due.
    async fn ping(&self, is_check_due: bool) {
        let Ok((mut connection, generation)) = self.connection.get() else { return };
        let pinging = async {
            let _: () = redis::cmd("PING").query_async(&mut connection).await?;
            if is_check_due {
                self.requirements.check(&mut connection).await?;
                self.record(check_capabilities(&mut connection).await?);
            }
            Ok::<_, ProbeError>(())
        };
        let pinged = timeout(self.call_timeout, pinging).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        if let Err(error) = pinged {
            self.connection.report_failure(generation, error.failure(), &error);
        }
    }

    /// Tries whether a server that refused writes carries them out again.
    async fn try_write(&self) {
        let Ok((mut connection, generation)) = self.connection.get() else { return };
        let trying = async {
            // An operator whose server's memory is full may now let it evict records.
            self.requirements.check(&mut connection).await?;
            check_capabilities(&mut connection).await.map_err(ProbeError::from)
        };
        match timeout(self.call_timeout, trying).await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(capabilities) => {
                self.record(capabilities);
                self.connection.report_writable();
            }
            Err(error) => self.connection.report_failure(generation, error.failure(), &error),
        }
    }

    /// Makes one attempt to reconnect.
    async fn probe(&self) -> Result<(), ProbeError> {
        let step_timeout = self.call_timeout.max(MIN_STEP_TIMEOUT);
        let mut connection = timeout(step_timeout, connect(&self.client)).await??;
        timeout(step_timeout, self.requirements.check(&mut connection)).await??;
        // The first check may have to load the script. The second must be as fast as a call.
        let checked = match timeout(step_timeout, check_capabilities(&mut connection)).await? {
            Ok(_) => timeout(self.call_timeout, check_capabilities(&mut connection)).await?,
            failed => failed,
        };
        match checked {
            Ok(capabilities) => {
                self.record(capabilities);
                self.connection.replace(connection, None);
            }
            Err(error) => {
                let error = ProbeError::from(error);
                match error.failure() {
                    ServerFailure::WritesRefused(reason) => self.connection.replace(connection, Some((reason, &error))),
                    ServerFailure::ConnectionLost(_) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn record(&self, capabilities: Capabilities) {
        self.connection.set_accepts_several_scopes(capabilities.accepts_several_scopes);
    }

    /// Logs what the operator has to do, once for each advice.
    fn log_advice_once(&self, error: &ProbeError, logged: &mut Option<String>) {
        let Some(advice) = error.advice(&self.requirements) else { return };
        if logged.as_ref() != Some(&advice) {
            tracing::error!(advice, "the store cannot be used until its configuration is corrected");
            *logged = Some(advice);
        }
    }
}

/// Returns the pause after this number of attempts. It is random, so that sidecars that lost a server together do not
/// all reconnect at the same moment.
fn probe_pause(attempts: u32) -> Duration {
    (PROBE_PAUSE * 2_u32.pow(attempts.min(2))).mul_f64(0.75 + 0.5 * fastrand::f64())
}
