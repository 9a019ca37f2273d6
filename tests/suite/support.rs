//! What the tests share: real servers, sidecars and clients, and waiting for a condition with a timeout.

pub(crate) mod client;
pub(crate) mod kept;
pub(crate) mod monitor;
pub(crate) mod proxy;
pub(crate) mod servers;
pub(crate) mod sidecar;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate::{
    clock::Clock,
    domain::lease::{LeaseTerms, MAX_LEASE_HOLD_MS},
    escrow::{EscrowMode, EscrowOptions, LeasePolicy},
    gate::Gate,
    serve::ServeOptions,
};

/// Timeout of a wait for something that should happen almost at once. Only a failing test waits that long.
pub(crate) const WAIT_TIMEOUT_MS: i64 = 20_000;

/// `store_wait` of tests that are not about it, so that a busy machine does not fail them. It must stay short, because a
/// sidecar that shuts down waits for its calls only a second longer.
pub(crate) const STORE_WAIT: Duration = Duration::from_secs(3);

/// Which teams of a test's sidecar get leases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leasing {
    /// No team.
    Off,
    /// Busy teams, on a store outside the process, as in production.
    Auto,
    /// Every team, from its first call on. A call that no lease covers waits for one.
    AtOnce,
}

/// Returns options of leases that last ten seconds, with holds of two minutes. Tests calculate with these times, so they do not
/// depend on the defaults.
pub(crate) fn escrow(leasing: Leasing) -> EscrowOptions {
    let terms = LeaseTerms { term_ms: 10_000, hold_ms: MAX_LEASE_HOLD_MS };
    let (mode, policy) = match leasing {
        Leasing::Off => (EscrowMode::Off, LeasePolicy::default()),
        Leasing::Auto => (EscrowMode::Auto, LeasePolicy::default()),
        Leasing::AtOnce => {
            // A lease covers one call more than the one that it was taken for, if the team has that much.
            let policy = LeasePolicy {
                only_busy_teams: false,
                min_calls: 1,
                usual_calls: 2,
                wait_for_lease: true,
                retry_pause_ms: 0,
            };
            (EscrowMode::On, policy)
        }
    };
    EscrowOptions { mode, terms, policy, ..EscrowOptions::default() }
}

/// Options of a sidecar that writes every call through. With leases, the speed of the machine would decide which calls they
/// answer.
pub(crate) fn written_through() -> ServeOptions {
    ServeOptions { escrow: escrow(Leasing::Off), ..ServeOptions::default() }
}

/// Runs the background work of a gate until the guard is dropped. The task ends then.
pub(crate) fn alive(gate: &Arc<Gate>) -> (DropGuard, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (worker, stopped) = (Arc::clone(gate), stop.clone());
    let running = tokio::spawn(async move { worker.run(stopped).await });
    (stop.drop_guard(), running)
}

/// Does the background work for leases and their reservations once, for tests whose clock stands still. Answers the recalls that
/// were announced after `since_ms`, in Unix milliseconds of the store. Returns the next `since_ms`.
pub(crate) async fn catch_up(gate: &Gate, since_ms: i64) -> i64 {
    let since_ms = gate.tend_leases(since_ms).await;
    gate.record_waiting_runs().await;
    gate.expire_opened().await;
    since_ms
}

/// Interval between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until the condition holds. Panics after [`WAIT_TIMEOUT_MS`], naming what it waited for.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun_ms = Clock::System.monotonic_ms();
    while !condition() {
        assert!(Clock::System.monotonic_ms() - begun_ms < WAIT_TIMEOUT_MS, "waited in vain until {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `look` returns a value, while other tasks of the test go on. Panics after [`WAIT_TIMEOUT_MS`].
pub(crate) async fn wait_for<T, Look>(what: &str, mut look: impl FnMut() -> Look) -> T
where
    Look: Future<Output = Option<T>>,
{
    let begun_ms = Clock::System.monotonic_ms();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Clock::System.monotonic_ms() - begun_ms < WAIT_TIMEOUT_MS, "waited in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the path of a program, from target/tools or PATH.
pub(crate) fn tool(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(tools())
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("there is no {program}: run tests/tools, which provides it"))
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin")
}

/// Sends a signal, with its name for kill(1), such as `TERM` or `KILL`.
pub(crate) fn signal(process_id: u32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &process_id.to_string()]).status().unwrap();
    assert!(sent.success(), "no process {process_id} to send {name} to");
}
