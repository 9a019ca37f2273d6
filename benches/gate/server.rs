//! The process of a server: the floor, or a sidecar.

use std::{
    env,
    fs::File,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use tempfile::TempDir;

use super::{process::Running, row::Transport};

/// A server. It ends when this is dropped.
pub(crate) struct Server {
    process: Running,
    data: String,
    admin: String,
    _directory: TempDir,
}

impl Server {
    /// Starts the floor.
    pub(crate) fn floor(transport: Transport) -> anyhow::Result<Self> {
        // The path of a unix socket must be short, so the directory is in the system's temporary directory.
        let directory = TempDir::new()?;
        let address = address(transport, &directory, "data");
        let mut command = Command::new(env::current_exe()?);
        command.args(["floor", &address]).stdin(Stdio::null());
        let mut process = Running::start(&mut command)?;
        let data = line(&mut process, "executors: ").context("the floor does not start")?;
        Ok(Self { process, data, admin: String::new(), _directory: directory })
    }

    /// Starts a sidecar on this store, with these settings, given as for the command line.
    pub(crate) fn sidecar(transport: Transport, store: &str, settings: &[&str]) -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let log = directory.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["serve", "--listen", &address(transport, &directory, "data")]);
        command.args(["--admin", &address(transport, &directory, "admin"), "--store", store]).args(settings);
        command.env_remove("TOLLGATE_LOG").env_remove("RUST_LOG");
        command.current_dir(&directory).stdin(Stdio::null()).stderr(File::create(&log)?);
        let mut process = Running::start(&mut command)?;
        let mut address_of = |name| {
            line(&mut process, name).with_context(|| {
                format!("the sidecar does not start: {}", std::fs::read_to_string(&log).unwrap_or_default())
            })
        };
        let (data, admin) = (address_of("executors:")?, address_of("admin:")?);
        Ok(Self { process, data, admin, _directory: directory })
    }

    /// Returns the address of its data listener.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// Returns the address of its admin listener. The floor has none.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Returns the address of its probe listener.
    pub(crate) fn probe(&mut self) -> anyhow::Result<String> {
        line(&mut self.process, "probe:").context("the sidecar printed no address of a probe listener")
    }

    /// Returns the processor time that it has used.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        self.process.processor_seconds()
    }

    /// Returns its resident memory.
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

/// Returns the address on the next line of output that begins with this name.
fn line(process: &mut Running, name: &str) -> anyhow::Result<String> {
    loop {
        let line = process.line()?.context("the process ended")?;
        if let Some(address) = line.strip_prefix(name) {
            return Ok(address.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
}
