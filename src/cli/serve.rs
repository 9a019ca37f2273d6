//! `tollgate serve`: runs a sidecar until a signal ends it.

use std::{convert::Infallible, io::Write, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::LiveConfiguration;
use crate::{
    exit_code::{self, CommandError},
    serve::{AccessError, Sidecar, StartError},
};

/// Signal for a write beyond the file size limit (RLIMIT_FSIZE). Linux and the BSDs use the same number.
const SIGXFSZ: i32 = 25;

/// Serves until SIGTERM or SIGINT, and then shuts down gracefully. A second signal ends the process immediately.
///
/// SIGHUP reloads the configuration.
pub(super) async fn run(configuration: LiveConfiguration) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let options = configuration.current().settings.serve.clone();
    let drain_delay = options.drain_delay;
    let mut sidecar = tokio::select! {
        started = Sidecar::start(options) => started.map_err(|error| start_error(&error))?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was ready");
            return Ok(());
        }
    };
    // If standard output is closed, the banner is lost, and the sidecar serves all the same.
    let mut output = std::io::stdout();
    let _ = write!(output, "{}", sidecar.startup_banner()).and_then(|()| output.flush());

    let gate = Arc::clone(sidecar.gate());
    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, ?drain_delay, "shutting down: reporting NOT_SERVING, and serving for drain_delay");
            false
        }
        () = sidecar.broken() => true,
        never = configuration.keep_current(&mut hang_up, &gate) => match never {},
    };
    let shutdown = async {
        if !failed {
            sidecar.withdraw().await;
            tracing::info!("shutting down: rejecting new reservations, and finishing calls in flight");
        }
        sidecar.shutdown().await;
    };
    tokio::select! {
        () = shutdown => {}
        never = signals.exit_at_next() => match never {},
    }
    if failed {
        return Err(CommandError::new(exit_code::SOFTWARE, "a task of the sidecar stopped unexpectedly; see the log"));
    }
    tracing::info!("stopped");
    Ok(())
}

fn start_error(error: &StartError) -> CommandError {
    let code = match error {
        StartError::Access(AccessError::Unreadable { .. }) => exit_code::NO_INPUT,
        StartError::Listen(_) | StartError::Access(_) | StartError::Traces(_) => exit_code::CONFIG,
        StartError::Store(error) if error.is_unfit() => exit_code::CONFIG,
        StartError::Store(_) | StartError::Gate(_) => exit_code::UNAVAILABLE,
        StartError::Reflection(_) | StartError::Metrics(_) => exit_code::SOFTWARE,
    };
    // The message is for the user. The debug output also has the cause that the system gave.
    tracing::debug!(?error, "starting failed");
    CommandError::new(code, error)
}

fn listen(kind: SignalKind) -> Result<Signal, CommandError> {
    signal(kind).map_err(|error| CommandError::new(exit_code::SOFTWARE, format!("cannot listen for signals: {error}")))
}

/// The signals that end a sidecar.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Without a handler, this signal ends the process. With one, the write fails instead, as on a full disk.
    _file_too_large: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CommandError> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            _file_too_large: listen(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at the next signal, with the exit code of a process that SIGKILL ended.
    async fn exit_at_next(&mut self) -> Infallible {
        let name = self.next().await;
        eprintln!("tollgate: second {name}: stopping immediately");
        std::process::exit(exit_code::KILLED.into())
    }
}
