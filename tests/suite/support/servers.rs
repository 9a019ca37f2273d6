//! Real Redis and Valkey servers, each in its own directory. They end with the test.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tollgate::store::StoreLocation;

use super::{tool, wait_until};

/// Program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Redis,
    Valkey,
}

impl Engine {
    fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }
}

/// A running server. It listens on a unix socket in its directory, and also on a port if it was started on one.
pub(crate) struct Server {
    engine: Engine,
    settings: Vec<String>,
    port: Option<u16>,
    directory: Arc<TempDir>,
    child: Child,
}

impl Server {
    /// Starts a server that writes nothing to disk.
    pub(crate) fn start(engine: Engine) -> Self {
        Self::start_with(engine, &["--appendonly", "no"])
    }

    /// Starts a server that writes each change to its append-only file before it answers.
    pub(crate) fn start_durable(engine: Engine) -> Self {
        Self::start_with(engine, &["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these settings, given as command-line arguments.
    pub(crate) fn start_with(engine: Engine, settings: &[&str]) -> Self {
        let mut server = Self::spawn(engine, settings, None);
        wait_until("the server is ready", || server.is_ready() || server.has_ended());
        assert!(!server.has_ended(), "the server ended: {}", server.log());
        server
    }

    /// Starts a server that also listens on a free port.
    pub(crate) fn start_on_port(engine: Engine, settings: &[&str]) -> Self {
        // Another process can take the port before the server listens on it. The server ends at once then.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server = Self::spawn(engine, settings, Some(port));
            wait_until("the server is ready", || server.is_ready() || server.has_ended());
            if !server.has_ended() {
                return server;
            }
        }
        panic!("found no free port");
    }

    /// Starts a Sentinel on a free port. It keeps no records and answers few commands.
    pub(crate) fn start_sentinel(engine: Engine) -> Self {
        Self::start_on_port(engine, &["--sentinel"])
    }

    fn spawn(engine: Engine, settings: &[&str], port: Option<u16>) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let child = spawn(engine, &settings, port, directory.path());
        Self { engine, settings, port, directory, child }
    }

    /// Ends the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same directory, after [`Self::kill`].
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.engine, &self.settings, self.port, self.directory.path());
        wait_until("the server is ready again", || self.is_ready());
    }

    /// Starts it again, and waits only until it loads its records.
    pub(crate) fn restart_loading(&mut self) {
        self.child = spawn(self.engine, &self.settings, self.port, self.directory.path());
        wait_until("the server loads its records", || {
            self.try_connect().is_err_and(|error| error.code() == Some("LOADING"))
        });
    }

    /// Returns the location for a store, by the unix socket.
    pub(crate) fn location(&self) -> StoreLocation {
        StoreLocation::Redis(format!("redis+unix://{}", self.socket().display()))
    }

    /// Returns the port. Panics if the server was not started on one.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap()
    }

    /// Returns the path of a file in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the id of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Opens a plain connection, so that a test can read or damage data without the store.
    pub(crate) fn connect(&self) -> redis::Connection {
        self.try_connect().unwrap()
    }

    fn try_connect(&self) -> redis::RedisResult<redis::Connection> {
        let mut connection = redis::Client::open(format!("unix://{}", self.socket().display()))?.get_connection()?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    fn is_ready(&self) -> bool {
        // A server that asks for a password is ready.
        match self.try_connect() {
            Ok(_) => true,
            Err(error) => error.code() == Some("NOAUTH"),
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the server has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(engine: Engine, settings: &[String], port: Option<u16>, directory: &Path) -> Child {
    let mut command = Command::new(tool(engine.program()));
    if settings.iter().any(|setting| setting == "--sentinel") {
        // A Sentinel writes its state to its configuration file, which must exist and be the first argument.
        File::create(directory.join("sentinel.conf")).unwrap();
        command.arg("sentinel.conf");
    }
    command.args(["--unixsocket", "socket", "--save", "", "--bind", "127.0.0.1", "--dir"]).arg(directory);
    if let Some(port) = port {
        let flag = if settings.iter().any(|setting| setting == "--tls-cert-file") { "--tls-port" } else { "--port" };
        if flag == "--tls-port" {
            command.args(["--port", "0"]);
        }
        command.args([flag, &port.to_string()]);
    } else {
        command.args(["--port", "0"]);
    }
    let log = File::create(directory.join("log")).unwrap();
    command.args(settings).current_dir(directory).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
