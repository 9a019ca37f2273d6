//! The real program as a process of its own: started, listened to, killed, and gone when the test ends.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tollgate::store::StoreLocation;

use super::{STORE_WAIT, client::Client, signal, wait_until};

/// A sidecar in a process. What it prints is kept in its directory, and shown if the test fails.
pub(crate) struct Sidecar {
    directory: Arc<TempDir>,
    arguments: Vec<String>,
    child: Child,
    data: String,
    admin: String,
}

impl Sidecar {
    /// Starts one on two sockets of its own, and waits until it is ready.
    pub(crate) fn start(store: &StoreLocation) -> Self {
        Self::start_with(store, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(store: &StoreLocation, more: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let socket = |name: &str| format!("unix:{}", directory.path().join(name).display());
        let (data, admin, store) = (socket("data"), socket("admin"), argument(store));
        let arguments = ["--listen", &data, "--admin", &admin, "--store", &store];
        Self::start_in(&directory, &[&arguments, more].concat())
    }

    /// Starts one in this directory with these arguments, and waits until it is ready.
    pub(crate) fn start_in(directory: &Arc<TempDir>, arguments: &[&str]) -> Self {
        let mut arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        // A test that is about the wait says it itself.
        if !arguments.iter().any(|argument| argument.starts_with("--store-wait")) {
            arguments.push(format!("--store-wait={}s", STORE_WAIT.as_secs()));
        }
        // Nobody else has to learn that it ends.
        if !arguments.iter().any(|argument| argument.starts_with("--drain-delay")) {
            arguments.push("--drain-delay=0s".to_owned());
        }
        // Whether a team is asked often enough for leases depends on the machine: tests of leases say so themselves.
        if !arguments.iter().any(|argument| argument.starts_with("--escrow")) {
            arguments.push("--escrow=off".to_owned());
        }
        let child = spawn(directory.path(), &arguments);
        let (data, admin) = Default::default();
        let mut sidecar = Self { directory: Arc::clone(directory), arguments, child, data, admin };
        sidecar.wait_until_ready();
        sidecar
    }

    /// Ends it as a crash would: with kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again as it was started first, after it ended.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.directory.path(), &self.arguments);
        self.wait_until_ready();
    }

    /// The same as who supervises it would: as often as it ends for want of a store that answers.
    pub(crate) fn restart_until_ready(&mut self) {
        wait_until("the sidecar starts", || {
            self.child = spawn(self.directory.path(), &self.arguments);
            wait_until("the sidecar is ready or ends", || self.is_ready() || self.ended().is_some());
            self.is_ready()
        });
        self.wait_until_ready();
    }

    /// Sends a signal, named as kill(1) does.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// A client of both listeners, which connects when it is first used and again whenever it has to.
    pub(crate) fn client(&self) -> Client {
        Client::of(&self.data, &self.admin)
    }

    /// The data listener, as it says itself: `host:port` or `unix:/path`.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// The admin listener, the same.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Where it answers probes, if it was told to; `host:port`.
    pub(crate) fn probe(&self) -> String {
        address(&self.stdout(), "probe:")
    }

    /// What it printed on standard output since it was last started.
    pub(crate) fn stdout(&self) -> String {
        read(&self.directory.path().join("stdout"))
    }

    /// What it printed on standard error since it was first started.
    pub(crate) fn stderr(&self) -> String {
        read(&self.directory.path().join("stderr"))
    }

    fn wait_until_ready(&mut self) {
        wait_until("the sidecar is ready", || self.is_ready() || self.ended().is_some());
        assert!(self.is_ready(), "the sidecar ended: {}", self.stderr());
        let lines = self.stdout();
        (self.data, self.admin) = (address(&lines, "executors:"), address(&lines, "admin:"));
    }

    /// The start-up lines end with a call of the admin listener.
    fn is_ready(&self) -> bool {
        let lines = self.stdout();
        let last = lines.lines().last().unwrap_or_default();
        lines.ends_with('\n') && (last.ends_with("UsageService/GetUsage") || last.ends_with("AccountService/PutTeam"))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the sidecar at {} printed:\n{}{}", self.data, self.stdout(), self.stderr());
        }
    }
}

/// Runs the program to its end with these arguments, and returns what it printed.
pub(crate) fn tollgate(arguments: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments))
}

/// Runs a command to its end in a directory of its own, and returns what it printed. It is killed if it does not end in
/// time.
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

/// Killed when it is dropped, ended or not.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store as the command line names it.
pub(crate) fn argument(store: &StoreLocation) -> String {
    match store {
        StoreLocation::Redis(url) => url.clone(),
        other => other.to_string(),
    }
}

fn spawn(directory: &Path, arguments: &Vec<String>) -> Child {
    let stdout = File::create(directory.join("stdout")).unwrap();
    let stderr = OpenOptions::new().create(true).append(true).open(directory.join("stderr")).unwrap();
    // A test may bound how large its files can grow. The signal of that is ignored by processes whose parent ignores it, and
    // then a write fails as it does on a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tollgate")]);
    // What the tests are told by such a variable, as a seed, is no setting of a sidecar.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"TOLLGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.stdout(stdout).stderr(stderr).spawn().unwrap()
}

/// What stands behind this name in the start-up lines.
fn address(lines: &str, name: &str) -> String {
    let line = lines.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    line.trim_start().split(' ').next().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
