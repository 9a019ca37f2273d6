//! The watcher of one server: it notices a server that went away while nobody called, and finds the way back.
//!
//! While the way leads, it asks whether somebody is there, and now and then whether the server is still fit. While it does not,
//! it tries a new connection again and again, and lets calls by it only when the server was found fit, carried out a
//! change, and did so as fast as calls are to be answered.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use tokio::time::{error::Elapsed, sleep, timeout};

use super::{
    super::{error::StoreError, health::StoreHealth},
    capability_check::{self, Shown, try_everything},
    requirements::{Demands, Unfit},
    server_failure::{Trouble, of_server},
    shared_connection::Link,
};
use crate::clock::Clock;

/// Between two looks at a server that serves: so long can one be gone before anybody knows, if nobody calls.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two checks of what a server is set to. So long could one that somebody just set to evict do so.
const CHECK_EVERY_MS: i64 = 5_000;

/// Between the first two attempts to find the way back; between later ones it is up to four times as long, so that a server that
/// refuses each is not flooded, and is still found within two seconds of its return.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// The least bound of each step of an attempt: long enough for a TLS handshake with a busy server, and, as a way that lost the
/// packets of one step is tried anew after it, well within the two seconds in which a server that is back is to be found.
const STEP_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Watcher {
    pub(super) link: Arc<Link>,
    pub(super) client: Client,
    pub(super) demands: Demands,
    /// The longest that a call waits for its answer.
    pub(super) wait: Duration,
}

/// Why the server cannot be used yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotYet {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Failed(#[from] RedisError),
    #[error(transparent)]
    Answered(#[from] StoreError),
    #[error("it did not answer in time")]
    Late(#[from] Elapsed),
}

impl From<capability_check::Failed> for NotYet {
    fn from(failed: capability_check::Failed) -> Self {
        match failed {
            capability_check::Failed::Call(error) => Self::Failed(error),
            capability_check::Failed::Transaction(error) => Self::Answered(error),
        }
    }
}

impl NotYet {
    pub(super) fn trouble(&self) -> Trouble {
        let unknown = Trouble::Lost("its server rejects the script");
        match self {
            Self::Unfit(unfit) => Trouble::Lost(unfit.reason()),
            Self::Failed(error) => Trouble::behind(error).unwrap_or(unknown),
            Self::Answered(error) => of_server(error).map_or(unknown, |(trouble, _)| trouble),
            Self::Late(_) => Trouble::Lost("it did not answer in time"),
        }
    }
}

/// A connection to the server.
pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // Whoever connects, and whoever calls, has a bound of its own for all that it does.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Watcher {
    /// Watches for ever.
    pub(super) async fn watch(self) {
        let mut checked_ms = Clock::System.monotonic_ms();
        let mut told = None;
        let mut attempts = 0;
        loop {
            match self.link.health() {
                StoreHealth::Up => {
                    told = None;
                    attempts = 0;
                    // Whoever met trouble is faster than the next look.
                    if timeout(LOOK_EVERY, self.link.troubled()).await.is_ok() {
                        continue;
                    }
                    let due = Clock::System.monotonic_ms() - checked_ms >= CHECK_EVERY_MS;
                    self.look(due).await;
                    if due {
                        checked_ms = Clock::System.monotonic_ms();
                    }
                }
                StoreHealth::RefusesChanges { .. } => {
                    sleep(PROBE_PAUSE).await;
                    self.try_a_change().await;
                }
                StoreHealth::Down { .. } => match self.probe().await {
                    Ok(()) => checked_ms = Clock::System.monotonic_ms(),
                    Err(not_yet) => {
                        self.tell_once(&not_yet, &mut told);
                        self.link.still(not_yet.trouble().reason(), &not_yet);
                        sleep(pause(attempts)).await;
                        attempts += 1;
                    }
                },
            }
        }
    }

    /// Whether the server is there, and fit if that is to be checked.
    async fn look(&self, check: bool) {
        let Ok((mut connection, generation)) = self.link.connection() else { return };
        let looking = async {
            let _: () = redis::cmd("PING").query_async(&mut connection).await?;
            if check {
                self.demands.check(&mut connection).await?;
                self.learn(try_everything(&mut connection).await?);
            }
            Ok::<_, NotYet>(())
        };
        let looked = timeout(self.wait, looking).await.unwrap_or_else(|late| Err(late.into()));
        if let Err(not_yet) = looked {
            self.link.met(generation, not_yet.trouble(), &not_yet);
        }
    }

    /// Whether a server that refused changes takes them again.
    async fn try_a_change(&self) {
        let Ok((mut connection, generation)) = self.link.connection() else { return };
        let trying = async {
            // Whoever finds a server's memory full may well let it evict.
            self.demands.check(&mut connection).await?;
            try_everything(&mut connection).await.map_err(NotYet::from)
        };
        match timeout(self.wait, trying).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(shown) => {
                self.learn(shown);
                self.link.takes_changes();
            }
            Err(not_yet) => self.link.met(generation, not_yet.trouble(), &not_yet),
        }
    }

    /// One attempt to find the way back.
    async fn probe(&self) -> Result<(), NotYet> {
        let limit = self.wait.max(STEP_LIMIT);
        let mut connection = timeout(limit, connect(&self.client)).await??;
        timeout(limit, self.demands.check(&mut connection)).await??;
        // The first may have to send the script; the second is as fast as any call will be.
        let tried = match timeout(limit, try_everything(&mut connection)).await? {
            Ok(_) => timeout(self.wait, try_everything(&mut connection)).await?,
            refused => refused,
        };
        match tried {
            Ok(shown) => {
                self.learn(shown);
                self.link.lead_by(connection, None);
            }
            Err(failed) => {
                let not_yet = NotYet::from(failed);
                match not_yet.trouble() {
                    Trouble::RefusesChanges(reason) => self.link.lead_by(connection, Some((reason, &not_yet))),
                    Trouble::Lost(_) => return Err(not_yet),
                }
            }
        }
        Ok(())
    }

    fn learn(&self, shown: Shown) {
        self.link.learn(shown.takes_scopes_together);
    }

    /// What somebody has to set right is told loudly, once: it will not pass by itself.
    fn tell_once(&self, not_yet: &NotYet, told: &mut Option<String>) {
        let advice = match not_yet {
            NotYet::Unfit(Unfit::Refused { advice, .. }) => Some(advice.clone()),
            NotYet::Unfit(Unfit::Silent(error)) | NotYet::Failed(error) => self.demands.advice(error),
            NotYet::Answered(error) => self.demands.advice_on(error),
            NotYet::Late(_) => None,
        };
        if advice.is_some() && advice != *told {
            tracing::error!("no call is served until this is set right: {}", advice.as_deref().unwrap_or_default());
            *told = advice;
        }
    }
}

/// The pause after so many attempts. Sidecars that lost a server together do not all try it again together.
fn pause(attempts: u32) -> Duration {
    (PROBE_PAUSE * 2_u32.pow(attempts.min(2))).mul_f64(0.75 + 0.5 * fastrand::f64())
}
