//! A Redis server for the benchmark, set up like an installation: on a port, with an append-only file.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, bail};
use redis::Connection;
use tempfile::TempDir;

use super::{arguments::Flush, process::Running};

/// Interval between two checks whether the server is ready.
const PAUSE: Duration = Duration::from_millis(10);

/// Maximum number of these checks.
const CHECKS: u32 = 500;

/// Maximum number of ports to try. Another process may take a port before the server listens on it.
const MAX_PORTS: u32 = 5;

/// A server. It ends and its data is removed when this is dropped.
pub(crate) struct RedisServer {
    process: Running,
    url: String,
    _directory: TempDir,
}

/// Cost of a command since the start of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandCost {
    pub(crate) calls: u64,
    pub(crate) micros: u64,
}

impl RedisServer {
    /// Starts a server with its own directory under `parent`.
    pub(crate) fn start(parent: &Path, flush: Flush) -> anyhow::Result<Self> {
        for _ in 0..MAX_PORTS {
            let directory = TempDir::with_prefix_in("redis-", parent)?;
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut process = Running::start(&mut command(directory.path(), port, flush)?)?;
            let url = format!("redis://127.0.0.1:{port}");
            if is_ready(&mut process, &url)? {
                return Ok(Self { process, url, _directory: directory });
            }
        }
        bail!("redis-server does not start")
    }

    /// Returns its URL, which is also the location of a store.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        connect(&self.url)
    }

    /// Returns its resident memory.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }

    /// Stops it like a machine that hangs: its connections stay open, and no command is answered.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.process.signal("STOP")
    }

    /// Resumes it.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.process.signal("CONT")
    }

    /// Returns the cost of all script calls since the start.
    pub(crate) fn scripts(&self) -> anyhow::Result<CommandCost> {
        let text: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connect()?)?;
        // The line is missing before the first call.
        Ok(text.lines().find_map(|line| command_cost(line.strip_prefix("cmdstat_evalsha:")?)).unwrap_or_default())
    }
}

/// Parses `calls=5,usec=310,usec_per_call=62.00,…`.
fn command_cost(figures: &str) -> Option<CommandCost> {
    let figure = |name: &str| {
        figures.split(',').find_map(|figure| figure.strip_prefix(name)?.strip_prefix('=')?.trim().parse().ok())
    };
    Some(CommandCost { calls: figure("calls")?, micros: figure("usec")? })
}

fn command(directory: &Path, port: u16, flush: Flush) -> anyhow::Result<Command> {
    let log = File::create(directory.join("log"))?;
    let mut command = Command::new(program()?);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(directory);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", flush.name()]);
    // A rewrite of the append-only file would use a core for seconds, in the middle of some measurement.
    command.args(["--auto-aof-rewrite-percentage", "0", "--logfile", "log"]);
    command.stdin(Stdio::null()).stderr(log);
    Ok(command)
}

fn program() -> anyhow::Result<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools)
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join("redis-server"))
        .find(|program| program.is_file())
        .context("there is no redis-server: run tests/tools, which provides it")
}

fn is_ready(process: &mut Running, url: &str) -> anyhow::Result<bool> {
    for _ in 0..CHECKS {
        if process.child().try_wait()?.is_some() {
            return Ok(false);
        }
        if connect(url).is_ok() {
            return Ok(true);
        }
        sleep(PAUSE);
    }
    bail!("redis-server does not answer after its start")
}

fn connect(url: &str) -> anyhow::Result<Connection> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}
