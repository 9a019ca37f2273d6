//! The watcher of one server: it detects that the server is away even if there are no calls, and reconnects.
//!
//! While the server is up, the watcher sends PING, and from time to time checks whether the server still meets the
//! requirements. If an answer is late, it finds out whether the server or the connection hangs. While the server is away,
//! it tries new connections. It puts a new connection in place only after the server has passed its checks and carried
//! out writes as fast as calls must be answered.

use std::{sync::Arc, time::Duration};

use redis::Client;
use tokio::{
    pin, select,
    time::{sleep, timeout},
};

use super::{
    super::health::StoreHealth,
    capability_check::{Capabilities, check_capabilities},
    connect::connect,
    probe_error::ProbeError,
    requirements::ServerRequirements,
    script_caller::TIMED_OUT,
    second_connection::{SecondConnection, ping},
    server_failure::ServerFailure,
    shared_connection::{CONNECTION_HANGS, SharedConnection},
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

/// How long an answer on the shared connection may take before the connection counts as hung and is replaced, as a
/// multiple of the timeout of a call. With the default timeout it is one second, in which lost packets are sent again
/// twice.
const HUNG_AFTER_TIMEOUTS: u32 = 4;

/// Detects outages, and reconnects.
pub(super) struct Watcher {
    /// The connection that calls use.
    connection: Arc<SharedConnection>,
    /// The client by which to connect.
    client: Client,
    /// A connection for PING alone.
    second: SecondConnection,
    /// The requirements on the server.
    requirements: ServerRequirements,
    /// How long a call waits for its answer.
    call_timeout: Duration,
}

impl Watcher {
    /// Prepares to watch the server behind `connection`, to which `client` connects. A call waits for its answer for
    /// `call_timeout`.
    pub(super) fn new(
        connection: Arc<SharedConnection>,
        client: Client,
        requirements: ServerRequirements,
        call_timeout: Duration,
    ) -> Self {
        let second = SecondConnection::new(client.clone());
        Self { connection, client, second, requirements, call_timeout }
    }

    /// Watches the server until the future is dropped.
    pub(super) async fn watch(mut self) {
        let mut checked_ms = Clock::System.monotonic_ms();
        let mut logged_advice = None;
        let mut attempts = 0;
        loop {
            if self.connection.late_answers() > 0 {
                self.examine_late_answers().await;
            }
            match self.connection.health() {
                StoreHealth::Up => {
                    logged_advice = None;
                    attempts = 0;
                    // A call that fails, or whose answer is late, interrupts the interval.
                    let is_interrupted = timeout(PING_INTERVAL, self.connection.wait_for_failure()).await.is_ok();
                    let is_check_due = Clock::System.monotonic_ms() - checked_ms >= CHECK_INTERVAL_MS;
                    // Late answers must not keep the watcher from its checks.
                    if !is_interrupted || is_check_due {
                        let is_checked = self.ping(is_check_due).await;
                        if is_checked {
                            checked_ms = Clock::System.monotonic_ms();
                        }
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

    /// Sends PING on both connections, and checks the requirements if a check is due. Returns whether it was completed.
    async fn ping(&mut self, is_check_due: bool) -> bool {
        let Ok((mut connection, generation)) = self.connection.get() else { return false };
        let Self { second, requirements, call_timeout, .. } = self;
        let pinging = async {
            timeout(*call_timeout, ping(&mut connection)).await??;
            if !is_check_due {
                return Ok(None);
            }
            timeout(*call_timeout, requirements.check(&mut connection)).await??;
            Ok::<_, ProbeError>(Some(timeout(*call_timeout, check_capabilities(&mut connection)).await??))
        };
        // The result for the second connection does not matter here: the PING keeps it open, or opens it again.
        let (pinged, _) = tokio::join!(pinging, timeout(*call_timeout, second.ping()));
        match pinged {
            Ok(capabilities) => {
                capabilities.into_iter().for_each(|capabilities| self.record(capabilities));
                is_check_due
            }
            Err(error) => {
                self.report(generation, &error);
                false
            }
        }
    }

    /// Finds out whether late answers are only late, or the server or the shared connection hangs.
    ///
    /// Sends PING on both connections. Answers on a connection keep the order of the requests. So once the shared
    /// connection answers the PING, all late answers before it have arrived. If the second connection does not answer
    /// within the timeout of a call, the server is lost. If only the shared connection does not answer, it is replaced
    /// after a longer time, because one slow answer delays all answers behind it.
    async fn examine_late_answers(&mut self) {
        let Self { connection, second, call_timeout, .. } = self;
        let Ok((mut shared, generation)) = connection.get() else { return };
        let late_answers = connection.late_answers();
        let lost = |reason, cause: &dyn std::error::Error| {
            connection.report_failure(generation, ServerFailure::ConnectionLost(reason), cause);
        };
        let mut health = connection.watch_health();
        let known_lost = health.wait_for(|health| matches!(health, StoreHealth::Down { .. }));
        let shared_ping = timeout(*call_timeout * (HUNG_AFTER_TIMEOUTS - 1), ping(&mut shared));
        let second_ping = timeout(*call_timeout, second.ping());
        pin!(known_lost, shared_ping, second_ping);
        let mut is_server_up = false;
        let answered = loop {
            select! {
                biased;
                _ = &mut known_lost => return,
                answered = &mut shared_ping => break answered,
                answered = &mut second_ping, if !is_server_up => match answered {
                    Ok(Ok(())) => is_server_up = true,
                    Ok(Err(error)) => return lost("the connection to it failed", &error),
                    Err(elapsed) => return lost(TIMED_OUT, &elapsed),
                },
            }
        };
        match answered {
            Ok(Ok(())) => {
                connection.report_late_answers_arrived(generation, late_answers);
                tracing::debug!(late_answers, "late answers of the store; it stays in use, as it answers PING");
            }
            Ok(Err(error)) => {
                let failure = ServerFailure::from_error(&error);
                let failure = failure.unwrap_or(ServerFailure::ConnectionLost("its server rejects PING"));
                connection.report_failure(generation, failure, &error);
            }
            Err(elapsed) => lost(CONNECTION_HANGS, &elapsed),
        }
    }

    /// Reports why a step of the watcher on the connection of this generation failed.
    fn report(&self, generation: u64, error: &ProbeError) {
        match error {
            ProbeError::TimedOut(_) => self.connection.report_late_answer(generation),
            failed => self.connection.report_failure(generation, failed.failure(), failed),
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
            Err(error) => self.report(generation, &error),
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
