//! Records the commands that a Redis server receives.

use std::time::Duration;

use redis::Connection;

use super::servers::Server;

/// Marks of the commands that each sidecar sends in the background: the catalogue each second, the list of all teams each
/// minute, and checks of the server.
const BACKGROUND: [&str; 5] = ["{!catalogue}", "{!teams}", "{!probe}", "\"PING\"", "\"INFO\""];

/// Receives every command that any client sends to a server, in order.
pub(crate) struct Monitor {
    commands: Connection,
    marking: Connection,
    marks: u32,
}

impl Monitor {
    /// Starts recording.
    pub(crate) fn of(server: &Server) -> Self {
        let mut commands = server.connect();
        commands.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        redis::cmd("MONITOR").exec(&mut commands).unwrap();
        let mut monitor = Self { commands, marking: server.connect(), marks: 0 };
        monitor.take();
        monitor
    }

    /// Returns the commands since the last call, without those of [`BACKGROUND`]. Commands that a script executes do not count,
    /// because the server does not receive them.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let is_background = |line: &String| BACKGROUND.iter().any(|tag| line.contains(tag));
        self.take_all().into_iter().filter(|line| !is_background(line)).collect()
    }

    /// Returns all commands since the last call.
    pub(crate) fn take_all(&mut self) -> Vec<String> {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let _: String = redis::cmd("ECHO").arg(&mark).query(&mut self.marking).unwrap();
        let mut received = Vec::new();
        loop {
            let line: String = redis::from_redis_value(self.commands.recv_response().unwrap()).unwrap();
            if line.contains(&mark) {
                return received;
            }
            let is_of_script = line.split_once('[').is_some_and(|(_, rest)| rest.starts_with("0 lua]"));
            if !is_of_script {
                received.push(line);
            }
        }
    }
}
