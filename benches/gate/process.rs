//! Processes that the benchmark starts, which end with it, and what they take.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::Context as _;

/// A process, killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it. Its standard output is read here, its standard error goes where `command` says.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
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

    /// What it takes of the machine's memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("resident memory is known on Linux only")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its memory is not told")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
