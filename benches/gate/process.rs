//! Processes that the benchmark starts, which end with it, and their use of the machine.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// Ids of the running child processes, which a signal to this process must end as well.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Exit code after a signal, by the convention of shells.
const EXIT_INTERRUPTED: i32 = 130;

/// A process, killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a process. Its standard output is read here, and its standard error goes where `command` says.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut started = started();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        started.insert(child.id());
        drop(started);
        let output = child.stdout.take().context("the process has no standard output")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Reads the next line of its output, or returns `None` if it ended.
    pub(crate) fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.output.read_line(&mut line)? > 0).then(|| line.trim().to_owned()))
    }

    /// Returns the process itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal, with its name for kill(1).
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "cannot send SIG{name}");
        Ok(())
    }

    /// Returns its resident memory.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("resident memory is known on Linux only")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("/proc does not show the resident memory")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }

    /// Returns the processor time that it has used.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        processor_seconds(&self.child.id().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        started().remove(&self.child.id());
    }
}

/// Returns the processor time that a process has used. The process is an id, or `self`.
pub(crate) fn processor_seconds(process: &str) -> anyhow::Result<f64> {
    /// Linux reports times to programs in hundredths of a second.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("processor time is known on Linux only")?;
    // The name of the program is in brackets, and may contain spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Kills all child processes on SIGINT and SIGTERM, and then ends this process, so that an interrupted run leaves no process
/// behind.
pub(crate) fn kill_children_on_signal() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // While this lock is held, no process is started.
        let started = started();
        let _ = Command::new("kill").arg("-KILL").args(started.iter().map(ToString::to_string)).status();
        std::process::exit(EXIT_INTERRUPTED)
    });
    Ok(())
}

fn started() -> MutexGuard<'static, BTreeSet<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}
