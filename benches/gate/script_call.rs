//! The script call of a reserve without the sidecar, which shows how much of its latency is Redis and the network.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use redis::{Cmd, Connection, ConnectionLike as _, Value};
use tollgate::clock::Clock;

use super::{order::Measured, redis_server::RedisServer};

/// Timeout of a read from MONITOR, far above the duration of a call.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(5);

/// Script that is called with the arguments of a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A script that does nothing, which measures the network with the same keys and argument.
    Nothing,
    /// A script that unpacks its argument and does nothing else.
    Unpacking,
    /// The sidecar's own script.
    Whole,
}

/// A recorded call of a sidecar. It can be repeated for other reservations.
pub(crate) struct ScriptCall {
    arguments: Vec<Vec<u8>>,
    /// Id of the reservation, which is part of a key and of the script's argument.
    reservation: Vec<u8>,
}

impl ScriptCall {
    /// Records the last reserve that a sidecar sends during `calling`.
    pub(crate) fn record(redis: &RedisServer, calling: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let mut monitor = redis.connect()?;
        monitor.set_read_timeout(Some(MONITOR_TIMEOUT))?;
        redis::cmd("MONITOR").exec(&mut monitor)?;
        calling()?;
        redis::cmd("ECHO").arg("recorded").exec(&mut redis.connect()?)?;
        let mut last = None;
        loop {
            let line: String = redis::from_redis_value(monitor.recv_response()?)?;
            let arguments = arguments(&line)?;
            match arguments.first().map(Vec::as_slice) {
                Some(b"ECHO") => return last.context("the sidecar sent no reserve"),
                Some(b"EVALSHA") => last = Self::of_reserve(arguments).or(last),
                _ => {}
            }
        }
    }

    fn of_reserve(arguments: Vec<Vec<u8>>) -> Option<Self> {
        let of_reservation = |argument: &Vec<u8>| {
            let key = std::str::from_utf8(argument).ok().filter(|key| key.starts_with("tollgate:"))?;
            Some(key.split_once(":reservation:")?.1.as_bytes().to_vec())
        };
        // The arguments are the command, the script, the number of keys, and the keys.
        let reservation = arguments.get(3..)?.iter().find_map(of_reservation)?;
        Some(Self { arguments, reservation })
    }

    /// Repeats the call, each time for another reservation. `round` makes their ids different from those of other rounds.
    pub(crate) fn measure(
        &self,
        connection: &mut Connection,
        body: Body,
        round: usize,
        millis: u32,
    ) -> anyhow::Result<Measured> {
        let script = self.load(connection, body)?;
        let clock = Clock::default();
        let mut latencies_ns = Histogram::<u64>::new(3)?;
        let begin_ns = clock.monotonic_ns();
        let end_ns = begin_ns + i64::from(millis) * 1_000_000;
        let mut number = 0;
        while clock.monotonic_ns() < end_ns {
            let call = self.for_another(&script, round, number).get_packed_command();
            number += 1;
            let began_ns = clock.monotonic_ns();
            let answer = connection.req_packed_command(&call)?;
            latencies_ns.record(u64::try_from(clock.monotonic_ns() - began_ns)?)?;
            ensure!(body != Body::Whole || is_applied(&answer), "the recorded call was answered {answer:?}");
        }
        Ok(Measured::of(&latencies_ns, clock.monotonic_ns() - begin_ns))
    }

    /// Loads a script, and returns the hash by which Redis knows it.
    fn load(&self, connection: &mut Connection, body: Body) -> anyhow::Result<Vec<u8>> {
        let text = match body {
            Body::Nothing => "return 1",
            Body::Unpacking => "cmsgpack.unpack(ARGV[1]) return 1",
            Body::Whole => return Ok(self.arguments[1].clone()),
        };
        Ok(redis::cmd("SCRIPT").arg("LOAD").arg(text).query(connection)?)
    }

    fn for_another(&self, script: &[u8], round: usize, number: u32) -> Cmd {
        // The new id has the length of the old one, because the argument contains lengths.
        let length = self.reservation.len();
        let id = format!("{:0>length$}", format!("{round:x}-{number:x}"));
        let mut call = redis::cmd("EVALSHA");
        call.arg(script);
        for argument in &self.arguments[2..] {
            call.arg(replaced(argument, &self.reservation, id.as_bytes()));
        }
        call
    }
}

/// Whether the transaction was applied. The answer is MessagePack: a time of nine bytes, then the result, as the head of the
/// script explains.
fn is_applied(answer: &Value) -> bool {
    matches!(answer, Value::BulkString(answer) if answer.get(9) == Some(&0))
}

fn replaced(text: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let mut at = 0;
    while let Some(place) = text[at..].windows(part.len()).position(|window| window == part) {
        text[at + place..at + place + part.len()].copy_from_slice(by);
        at += place + part.len();
    }
    text
}

/// Parses the arguments in a line of MONITOR: `1700000000.123456 [0 127.0.0.1:1234] "GET" "key\x00"`.
fn arguments(line: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut rest = line.bytes().skip_while(|&byte| byte != b'"');
    let mut arguments = Vec::new();
    while rest.next().is_some() {
        let mut argument = Vec::new();
        loop {
            match rest.next().context("a line of MONITOR ends early")? {
                b'"' => break,
                b'\\' => argument.push(escaped(&mut rest)?),
                byte => argument.push(byte),
            }
        }
        arguments.push(argument);
        // Skips the space between two arguments.
        rest.next();
    }
    Ok(arguments)
}

fn escaped(rest: &mut impl Iterator<Item = u8>) -> anyhow::Result<u8> {
    Ok(match rest.next().context("a line of MONITOR ends early")? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'x' => {
            let digits: String = rest.by_ref().take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16)?
        }
        itself @ (b'"' | b'\\') => itself,
        other => bail!("unknown escape sequence {:?} in a line of MONITOR", char::from(other)),
    })
}
