//! Processes that the benchmark starts, which end with it, and what they take.

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

/// The processes that would outlive this one, if it were ended from outside.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// What a shell says of a process that a signal ended.
const EXIT_INTERRUPTED: i32 = 130;

/// A process, killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it. Its standard output is read here, its standard error goes where `command` says.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut started = started();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        started.insert(child.id());
        drop(started);
        let output = child.stdout.take().context("its output is not read here")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// The next line that it prints; `None` if it ended instead.
    pub(crate) fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.output.read_line(&mut line)? > 0).then(|| line.trim().to_owned()))
    }

    /// The process itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "SIG{name} could not be sent");
        Ok(())
    }

    /// What it takes of the machine's memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("resident memory is known on Linux only")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its memory is not told")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }

    /// The time of processors that it has taken, in seconds.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        processor_seconds(&self.child.id().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        started().remove(&self.child.id());
    }
}

/// The time of processors that a process has taken, in seconds; the process is named by its number, or `self`.
pub(crate) fn processor_seconds(process: &str) -> anyhow::Result<f64> {
    /// Linux counts for programs in hundredths of a second, whatever it does inside.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat =
        fs::read_to_string(format!("/proc/{process}/stat")).context("what a process takes is known on Linux only")?;
    // The name of the program, in brackets, may have blanks in it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// From now on SIGINT and SIGTERM end what was started, and then this process: whoever loses patience with a long run leaves
/// nothing behind.
pub(crate) fn end_all_with_this() -> anyhow::Result<()> {
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
        // Nothing is started while this is held.
        let started = started();
        let _ = Command::new("kill").arg("-KILL").args(started.iter().map(ToString::to_string)).status();
        std::process::exit(EXIT_INTERRUPTED)
    });
    Ok(())
}

fn started() -> MutexGuard<'static, BTreeSet<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}
