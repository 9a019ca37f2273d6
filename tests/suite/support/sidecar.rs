//! The real program in its own process. It ends with the test.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tollgate::store::StoreLocation;

use super::{STORE_WAIT, client::Client, signal, wait_until};

/// A sidecar in its own process. Its output is written to its directory, and printed if the test fails.
pub(crate) struct Sidecar {
    directory: Arc<TempDir>,
    arguments: Vec<String>,
    child: Child,
    data: String,
    admin: String,
}

impl Sidecar {
    /// Starts a sidecar on two unix sockets, and waits until it is ready.
    pub(crate) fn start(store: &StoreLocation) -> Self {
        Self::start_with(store, &[])
    }

    /// Starts a sidecar with more arguments, and waits until it is ready.
    pub(crate) fn start_with(store: &StoreLocation, more: &[&str]) -> Self {
        let mut sidecar = Self::begin_with(store, more);
        sidecar.wait_until_ready();
        sidecar
    }

    /// Starts a sidecar with more arguments, and does not wait for it.
    pub(crate) fn begin_with(store: &StoreLocation, more: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let socket = |name: &str| format!("unix:{}", directory.path().join(name).display());
        let (data, admin, store) = (socket("data"), socket("admin"), argument(store));
        let arguments = ["--listen", &data, "--admin", &admin, "--store", &store];
        Self::begin_in(&directory, &[&arguments, more].concat())
    }

    /// Starts a sidecar in this directory with these arguments, and waits until it is ready.
    pub(crate) fn start_in(directory: &Arc<TempDir>, arguments: &[&str]) -> Self {
        let mut sidecar = Self::begin_in(directory, arguments);
        sidecar.wait_until_ready();
        sidecar
    }

    fn begin_in(directory: &Arc<TempDir>, arguments: &[&str]) -> Self {
        let mut arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        // Tests that are about this timeout set it themselves.
        if !arguments.iter().any(|argument| argument.starts_with("--store-wait=")) {
            arguments.push(format!("--store-wait={}s", STORE_WAIT.as_secs()));
        }
        // No load balancer has to notice a shutdown.
        if !arguments.iter().any(|argument| argument.starts_with("--drain-delay")) {
            arguments.push("--drain-delay=0s".to_owned());
        }
        // Which calls leases answer depends on the speed of the machine. Tests of leases switch them on themselves.
        if !arguments.iter().any(|argument| argument.starts_with("--escrow")) {
            arguments.push("--escrow=off".to_owned());
        }
        let child = spawn(directory.path(), &arguments);
        let (data, admin) = Default::default();
        Self { directory: Arc::clone(directory), arguments, child, data, admin }
    }

    /// Ends it with SIGKILL, like a crash.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again with the same arguments, after it ended.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.directory.path(), &self.arguments);
        self.wait_until_ready();
    }

    /// Starts it again until it is ready, like a supervisor, because it ends if its store does not answer.
    pub(crate) fn restart_until_ready(&mut self) {
        wait_until("the sidecar starts", || {
            self.child = spawn(self.directory.path(), &self.arguments);
            wait_until("the sidecar is ready or ends", || self.is_ready() || self.ended().is_some());
            self.is_ready()
        });
        self.wait_until_ready();
    }

    /// Sends a signal, with its name for kill(1).
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Returns the id of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its exit status, or `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Returns a client of both listeners, which connects with its first call, and again whenever needed.
    pub(crate) fn client(&self) -> Client {
        Client::of(&self.data, &self.admin)
    }

    /// Returns the address of the data listener, as the sidecar printed it: `host:port` or `unix:/path`.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// Returns the address of the admin listener, as the sidecar printed it.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Returns the address of the probe listener. Panics if it has none.
    pub(crate) fn probe(&self) -> String {
        address(&self.stdout(), "probe:")
    }

    /// Returns its standard output since the last start.
    pub(crate) fn stdout(&self) -> String {
        read(&self.directory.path().join("stdout"))
    }

    /// Returns its standard error since the first start.
    pub(crate) fn stderr(&self) -> String {
        read(&self.directory.path().join("stderr"))
    }

    /// Waits until it is ready. Panics if it ends.
    pub(crate) fn wait_until_ready(&mut self) {
        wait_until("the sidecar is ready", || self.is_ready() || self.ended().is_some());
        assert!(self.is_ready(), "the sidecar ended: {}", self.stderr());
        let lines = self.stdout();
        (self.data, self.admin) = (address(&lines, "executors:"), address(&lines, "admin:"));
    }

    /// The last line of the startup banner is a call of the admin listener.
    fn is_ready(&self) -> bool {
        let lines = self.stdout();
        let last = lines.lines().last().unwrap_or_default();
        lines.ends_with('\n') && (last.ends_with("UsageService/GetUsage") || last.ends_with("AccountService/PutTeam"))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the sidecar at {} printed:\n{}{}", self.data, self.stdout(), self.stderr());
        }
    }
}

/// Runs the program with these arguments until it ends, and returns its output.
pub(crate) fn tollgate(arguments: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments))
}

/// Runs a command in a new directory until it ends, and returns its output. A command that does not end in time is killed.
pub(crate) fn run(command: &mut Command) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("stdout"), directory.path().join("stderr"));
    command.current_dir(&directory).stdin(Stdio::null());
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut running = Running(command.spawn().unwrap());
    let mut status = None;
    wait_until("the command ends", || {
        status = running.0.try_wait().unwrap();
        status.is_some()
    });
    Output { status: status.unwrap(), stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the command-line value for a store.
pub(crate) fn argument(store: &StoreLocation) -> String {
    match store {
        StoreLocation::Redis(url) => url.clone(),
        other => other.to_string(),
    }
}

fn spawn(directory: &Path, arguments: &Vec<String>) -> Child {
    let stdout = File::create(directory.join("stdout")).unwrap();
    let stderr = OpenOptions::new().create(true).append(true).open(directory.join("stderr")).unwrap();
    // A test may limit the size of files. A child of a process that ignores SIGXFSZ ignores it as well, and its writes fail
    // like those to a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tollgate")]);
    // Variables for the tests, such as a seed, are not settings of a sidecar.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TOLLGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.stdout(stdout).stderr(stderr).spawn().unwrap()
}

/// Returns the address after this name in the startup banner.
fn address(lines: &str, name: &str) -> String {
    let line = lines.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    line.trim_start().split(' ').next().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
