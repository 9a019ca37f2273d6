//! What a server receives, command by command.

use std::time::Duration;

use redis::Connection;

use super::servers::Server;

/// What each sidecar asks for by itself: the catalogue each second, the list of all teams each minute, and whether the server is
/// there and fit.
const BACKGROUND: [&str; 5] = ["{!catalogue}", "{!teams}", "{!probe}", "\"PING\"", "\"INFO\""];

/// Sees every command that a server receives from any client, in their order.
pub(crate) struct Monitor {
    commands: Connection,
    marking: Connection,
    marks: u32,
}

impl Monitor {
    /// From now on.
    pub(crate) fn of(server: &Server) -> Self {
        let mut commands = server.connect();
        commands.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        redis::cmd("MONITOR").exec(&mut commands).unwrap();
        let mut monitor = Self { commands, marking: server.connect(), marks: 0 };
        monitor.take();
        monitor
    }

    /// The commands received since the last look, without the sidecars' own. What a script does is no command that the
    /// server receives.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let is_background = |line: &String| BACKGROUND.iter().any(|tag| line.contains(tag));
        self.take_all().into_iter().filter(|line| !is_background(line)).collect()
    }

    /// All commands received since the last look.
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
