//! `tollgate serve`: a sidecar from its configuration to the signal that ends it.

use std::{convert::Infallible, io::Write, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reload;
use crate::{
    exit_code::{self, CommandError},
    serve::{AccessError, Sidecar, StartError},
};

/// A file has become as large as this process may make one; the number is that of Linux and of the BSDs.
const SIGXFSZ: i32 = 25;

/// Serves until SIGTERM or SIGINT, then ends in an orderly way; a second signal ends it at once. At SIGHUP it reads its configuration
/// anew.
pub(super) async fn run(reload: Reload) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let options = reload.applied().settings.serve.clone();
    let drain_delay = options.drain_delay;
    let mut sidecar = tokio::select! {
        started = Sidecar::start(options) => started.map_err(|error| not_started(&error))?,
        _ = signals.next() => return Ok(()),
    };
    // Whoever closed standard output does not want to read this, and is served all the same.
    let mut output = std::io::stdout();
    let _ = write!(output, "{}", sidecar.welcome()).and_then(|()| output.flush());

    let gate = Arc::clone(sidecar.gate());
    let failed = tokio::select! {
        name = signals.next() => {
            tracing::info!(?drain_delay, "{name}: not ready any more; all calls are served for the delay");
            false
        }
        () = sidecar.broken() => true,
        never = reload.follow(&mut hang_up, &gate) => match never {},
    };
    let leaving = async {
        if !failed {
            sidecar.withdraw().await;
            tracing::info!("no new reservations; calls in flight finish");
        }
        sidecar.shutdown().await;
    };
    tokio::select! {
        () = leaving => {}
        never = signals.exit_at_next() => match never {},
    }
    if failed {
        return Err(CommandError::new(
            exit_code::SOFTWARE,
            "a part of the sidecar stopped by itself; the log says more",
        ));
    }
    tracing::info!("stopped");
    Ok(())
}

fn not_started(error: &StartError) -> CommandError {
    let code = match error {
        StartError::Access(AccessError::Unreadable { .. }) => exit_code::NO_INPUT,
        StartError::Listen(_) | StartError::Access(_) | StartError::Traces(_) => exit_code::CONFIG,
        StartError::Store(error) if error.is_unfit() => exit_code::CONFIG,
        StartError::Store(_) | StartError::Gate(_) => exit_code::UNAVAILABLE,
        StartError::Reflection(_) | StartError::Metrics(_) => exit_code::SOFTWARE,
    };
    // The sentence is for whoever started it; what the system said to that is there for whoever wants to know more.
    tracing::debug!(?error, "not started");
    CommandError::new(code, error)
}

fn listen(kind: SignalKind) -> Result<Signal, CommandError> {
    signal(kind).map_err(|error| CommandError::new(exit_code::SOFTWARE, format!("cannot listen for signals: {error}")))
}

/// The signals that end a sidecar.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Unheard, it would end the process; heard, a file that may not grow is an error of the write, like a full disk.
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

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at the next signal, with the code that a shell gives to one that SIGKILL ended.
    async fn exit_at_next(&mut self) -> Infallible {
        let name = self.next().await;
        eprintln!("tollgate: {name} again: stopped at once");
        std::process::exit(exit_code::KILLED.into())
    }
}
