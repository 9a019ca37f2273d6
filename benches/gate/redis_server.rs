//! A Redis server of the benchmark's own, as an installation has it: on a port, with an append-only file.

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

/// Between two looks at whether it is ready, and how many there are.
const PAUSE: Duration = Duration::from_millis(10);
const LOOKS: u32 = 500;

/// How often a port is chosen that another process then takes.
const PORTS_TRIED: u32 = 5;

/// A server, gone with all it has when it is dropped.
pub(crate) struct RedisServer {
    process: Running,
    url: String,
    _directory: TempDir,
}

/// What a command cost the server since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandCost {
    pub(crate) calls: u64,
    pub(crate) micros: u64,
}

impl RedisServer {
    /// Starts one that keeps its file in a directory of its own under `parent`.
    pub(crate) fn start(parent: &Path, flush: Flush) -> anyhow::Result<Self> {
        for _ in 0..PORTS_TRIED {
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

    /// Where it is, as a store's name.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A connection of this process.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        connect(&self.url)
    }

    /// What it takes of the machine's memory now, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }

    /// Stops it, as a machine that hangs does: it keeps its connections, and answers none.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        self.process.signal("CONT")
    }

    /// What the scripts cost it so far, with all that they did.
    pub(crate) fn scripts(&self) -> anyhow::Result<CommandCost> {
        let text: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connect()?)?;
        // There is no line before the first call.
        Ok(text.lines().find_map(|line| command_cost(line.strip_prefix("cmdstat_evalsha:")?)).unwrap_or_default())
    }
}

/// `calls=5,usec=310,usec_per_call=62.00,…`
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
    // Rewriting its file takes a core for seconds, in a measurement that happens to be going on.
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
        .context("there is no redis-server: run tests/tools, which gets one into target/tools")
}

fn is_ready(process: &mut Running, url: &str) -> anyhow::Result<bool> {
    for _ in 0..LOOKS {
        if process.child().try_wait()?.is_some() {
            return Ok(false);
        }
        if connect(url).is_ok() {
            return Ok(true);
        }
        sleep(PAUSE);
    }
    bail!("redis-server was started and does not answer")
}

fn connect(url: &str) -> anyhow::Result<Connection> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}
