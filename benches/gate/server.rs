//! A server in a process of its own: the floor, or a sidecar.

use std::{
    env,
    fs::File,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use tempfile::TempDir;

use super::{process::Running, row::Transport};

/// A server, gone when it is dropped.
pub(crate) struct Server {
    process: Running,
    data: String,
    admin: String,
    _directory: TempDir,
}

impl Server {
    /// Starts the floor.
    pub(crate) fn floor(transport: Transport) -> anyhow::Result<Self> {
        // The path of a socket must be short, so its directory is the system's.
        let directory = TempDir::new()?;
        let address = address(transport, &directory, "data");
        let mut command = Command::new(env::current_exe()?);
        command.args(["floor", &address]).stdin(Stdio::null());
        let mut process = Running::start(&mut command)?;
        let data = line(&mut process, "executors: ").context("the floor does not start")?;
        Ok(Self { process, data, admin: String::new(), _directory: directory })
    }

    /// Starts a sidecar, with its store as the command line names it, and other settings.
    pub(crate) fn sidecar(transport: Transport, store: &str, settings: &[&str]) -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let log = directory.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["serve", "--listen", &address(transport, &directory, "data")]);
        command.args(["--admin", &address(transport, &directory, "admin"), "--store", store]).args(settings);
        command.env_remove("TOLLGATE_LOG").env_remove("RUST_LOG");
        command.current_dir(&directory).stdin(Stdio::null()).stderr(File::create(&log)?);
        let mut process = Running::start(&mut command)?;
        let mut told = |name| {
            line(&mut process, name).with_context(|| {
                format!("the sidecar does not start: {}", std::fs::read_to_string(&log).unwrap_or_default())
            })
        };
        let (data, admin) = (told("executors:")?, told("admin:")?);
        Ok(Self { process, data, admin, _directory: directory })
    }

    /// Where executors reach it.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// Where operators reach it; the floor has none.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Where a sidecar tells its metrics, if it was started with a listener for probes.
    pub(crate) fn probe(&mut self) -> anyhow::Result<String> {
        line(&mut self.process, "probe:").context("the sidecar does not say where it is probed")
    }

    /// The time of processors that it has taken, in seconds.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        self.process.processor_seconds()
    }

    /// What it takes of the machine's memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }
}

fn address(transport: Transport, directory: &TempDir, name: &str) -> String {
    match transport {
        Transport::Tcp => "127.0.0.1:0".to_owned(),
        Transport::Unix => format!("unix:{}", directory.path().join(name).display()),
    }
}

/// The address on the next line that begins so.
fn line(process: &mut Running, name: &str) -> anyhow::Result<String> {
    loop {
        let line = process.line()?.context("it ended by itself")?;
        if let Some(address) = line.strip_prefix(name) {
            return Ok(address.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
}
