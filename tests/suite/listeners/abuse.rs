//! Hostile clients against the real program with its default limits. Its memory stays bounded, and an honest client is served
//! during and after each attack.

use std::{collections::VecDeque, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinSet;
use tollgate::{clock::Clock, serve::Limits};
use tonic::{Code, Status};

use super::{
    RESERVE, TEAM, check, proceeds, reserve,
    wire::{
        self, CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire,
        frame, headers, preface,
    },
};
use crate::suite::support::{
    client::{Client, team_without_seat},
    servers::{Engine, Server},
    sidecar::{Sidecar, argument},
    signal, wait_for,
};

/// Maximum growth of a sidecar's memory under any attack. The theoretical worst case in docs/internals/listeners.md is larger.
const BOUND_KIB: u64 = 192 * 1024;

/// Number of connections that take part in an attack.
const ATTACKERS: usize = 16;

/// Number of connections that hold calls: two of them leave half of the call slots to others.
const HOLDERS: usize = 2;

/// A sidecar in its own process, and an honest client that connected first.
struct Victim {
    sidecar: Sidecar,
    client: Client,
    calls: u32,
}

impl Victim {
    async fn start(store: &str) -> Self {
        Self::start_with(&["--store", store]).await
    }

    /// Starts a sidecar with these arguments beside free ports.
    async fn start_with(arguments: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let arguments = [&["--listen=127.0.0.1:0", "--admin=127.0.0.1:0"], arguments].concat();
        let sidecar = Sidecar::start_in(&directory, &arguments);
        let client = sidecar.client();
        client.put_team(team_without_seat(TEAM, 1_000_000_000)).await;
        let mut victim = Self { sidecar, client, calls: 0 };
        for _ in 0..500 {
            victim.serves().await;
        }
        victim
    }

    /// Sends the honest client's next call on its first connection.
    async fn serves(&mut self) {
        self.calls += 1;
        proceeds(self.client.reserve(reserve(&format!("honest-{}", self.calls))).await);
    }

    /// Returns the resident memory now (VmRSS), or its peak since [`Self::forget_peak`] (VmHWM).
    fn memory_kib(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.sidecar.process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.sidecar.process_id()), "5").unwrap();
    }

    /// Runs an attack while the honest client continues, and prints how long it took.
    async fn endures(&mut self, what: &str, mut attack: JoinSet<()>) {
        let begun_ms = Clock::System.monotonic_ms();
        self.forget_peak();
        let before = self.memory_kib("VmRSS");
        while !attack.is_empty() {
            self.serves().await;
            let _ = tokio::time::timeout(Duration::from_millis(5), attack.join_next())
                .await
                .map(|one| one.unwrap().unwrap());
        }
        self.serves().await;
        let took_ms = Clock::System.monotonic_ms() - begun_ms;
        self.report(&format!("{what}, {took_ms} ms"), before);
    }

    #[track_caller]
    fn report(&self, what: &str, before: u64) {
        let (peak, after) = (self.memory_kib("VmHWM"), self.memory_kib("VmRSS"));
        println!("{what}: {before} KiB before, {peak} KiB at most, {after} KiB after");
        assert!(peak < before + BOUND_KIB, "{what}: {before} KiB before, {peak} KiB at most");
    }
}

/// Starts an attack by `attackers` connections, each of which sends `bytes` `times` times after its preface.
fn repeated(victim: &Victim, attackers: usize, bytes: Vec<u8>, times: usize) -> JoinSet<()> {
    let (address, bytes): (Arc<str>, Arc<[u8]>) = (victim.sidecar.data().into(), bytes.into());
    let mut attack = JoinSet::new();
    for _ in 0..attackers {
        let (address, bytes) = (Arc::clone(&address), Arc::clone(&bytes));
        attack.spawn(async move {
            let mut wire = Wire::connect(&address).await;
            wire.send_often(&preface(), 1).await;
            wire.send_often(&bytes, times).await;
        });
    }
    attack
}

/// Returns pseudo-random bytes, the same ones each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Returns the frames of calls on streams 1, 3, 5 and so on.
fn on_streams(count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| frames(2 * number + 1)).collect()
}

/// Frames that no honest client sends take no memory and keep no other client waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_take_no_memory_and_delay_no_client() {
    let mut victim = Victim::start("memory").await;
    let begin = |stream| frame(HEADERS, END_HEADERS, stream, &headers(RESERVE));
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100].repeat(100));
    let no_increment = frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
    let overflow = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
    let small = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let endless = [frame(HEADERS, 0, 1, &headers(RESERVE)), frame(CONTINUATION, 0, 1, &[0x40; 16_384])].concat();
    let resets = on_streams(10_000, |stream| [begin(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat());
    let served = on_streams(10_000, |stream| {
        [frame(HEADERS, END_HEADERS | 1, stream, &headers(RESERVE)), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            .concat()
    });
    for (what, bytes, times) in [
        ("garbage", noise(64 * 1024), 100),
        ("a truncated frame", frame(DATA, 0, 1, &[0; 16_000])[..8_000].to_vec(), 1),
        ("a frame of 16 MiB", [&b"\xff\xff\xff\0\0\0\0\0\x01"[..], &[0; 60_000]].concat(), 300),
        ("headers without end", endless, 1),
        ("continuations", frame(CONTINUATION, 0, 1, &[0x40; 16_384]), 1_000),
        ("rapid resets", resets, 1),
        ("rapid resets of whole calls", served, 1),
        ("settings", settings, 5_000),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(1_000), 200),
        ("windows of nothing", no_increment, 100),
        ("windows too large", overflow, 100),
        ("windows opened bit by bit", small.repeat(1_000), 500),
        ("a second preface", PREFACE.repeat(100), 10),
        ("streams without end", on_streams(20_000, begin), 1),
    ] {
        let attack = repeated(&victim, if what == "streams without end" { HOLDERS } else { ATTACKERS }, bytes, times);
        victim.endures(what, attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_calls_take_little_memory() {
    // On a busy machine it takes longer than the default of 10 s to begin all calls. The first ones must still be open then.
    let mut victim = Victim::start_with(&["--store=memory", "--max-call-time=1m"]).await;
    let half = [&b"\0\0\x01\0\0"[..], &[0; 200]].concat();
    let slow =
        |stream| [frame(HEADERS, END_HEADERS, stream, &headers(RESERVE)), frame(DATA, 0, stream, &half)].concat();
    let opening = on_streams(256, slow);
    let address: Arc<str> = victim.sidecar.data().into();
    let mut attack = JoinSet::new();
    for _ in 0..HOLDERS {
        let (address, opening) = (Arc::clone(&address), opening.clone());
        attack.spawn(async move {
            let mut wire = Wire::open(&address).await;
            wire.send_often(&opening, 1).await;
            // One byte for each call, repeatedly.
            for _ in 0..20 {
                wire.send_often(&on_streams(256, |stream| frame(DATA, 0, stream, b"\0")), 1).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    victim.endures("512 calls a byte at a time", attack).await;

    // All call slots are taken, each by a call one byte short of the largest message. Other calls are asked to retry.
    victim.forget_peak();
    let before = victim.memory_kib("VmRSS");
    let body = Bytes::from([&b"\0\0\x01\0\0"[..], &vec![0; 65_535]].concat());
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(wire::hold(&address, 200, &body).await);
    }
    let refused = wait_for("no free slot", || async { victim.client.reserve(reserve("no-room")).await.err() }).await;
    check(&refused, Code::ResourceExhausted, "OVERLOADED");
    victim.report("1,600 calls a byte short of 64 KiB", before);
    drop(held);
    wait_for("a free slot", || async { victim.client.reserve(reserve("room")).await.ok() }).await;
    victim.serves().await;
}

/// 10,000 idle connections take little memory, and push out no client that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_take_little_memory() {
    const CONNECTIONS: usize = 10_000;
    let mut victim = Victim::start("memory").await;
    let address = victim.sidecar.data().to_owned();
    victim.forget_peak();
    let before = victim.memory_kib("VmRSS");
    // If this process must not open as many files, it drops the oldest connections, which the sidecar has closed already.
    let files = rlimit::increase_nofile_limit(CONNECTIONS as u64 + 1_000).unwrap();
    let at_once = usize::try_from(files).unwrap().saturating_sub(1_000).min(CONNECTIONS);
    assert!(at_once > 2_000, "this process may have {files} files open, which is too few");
    let mut idle = VecDeque::new();
    for number in 0..CONNECTIONS {
        if idle.len() == at_once {
            idle.pop_front();
        }
        idle.push_back(Wire::open(&address).await);
        if number % 100 == 0 {
            victim.serves().await;
        }
    }
    victim.serves().await;
    proceeds(victim.sidecar.client().reserve(reserve("newcomer")).await);
    let open = idle.iter().filter(|wire| !wire.has_ended()).count();
    let most = Limits::default().max_connections as usize;
    assert!((1..=most).contains(&open), "{open} are open");
    victim.report(&format!("10,000 connections, {open} of them open"), before);
    drop(idle);
    victim.serves().await;
}

/// 20,000 calls while the store is stopped are all answered, and take little memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_store_are_answered_in_little_memory() {
    const CLIENTS: usize = 8;
    let server = Server::start(Engine::Redis);
    let mut victim = Victim::start(&argument(&server.location())).await;
    victim.forget_peak();
    let before = victim.memory_kib("VmRSS");
    signal(server.process_id(), "STOP");
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = victim.sidecar.client();
        clients.spawn(async move {
            let calls = (0..20_000 / CLIENTS).map(|call| {
                let client = client.clone();
                async move { client.reserve(reserve(&format!("{number}-{call}"))).await }
            });
            // Together these are more calls than there are slots for, and none waits longer than its client.
            let answers: Vec<_> = futures::stream::iter(calls).buffer_unordered(400).collect().await;
            answers.into_iter().filter_map(Result::err).collect::<Vec<Status>>()
        });
    }
    let refused = clients.join_all().await.concat();
    signal(server.process_id(), "CONT");
    let overloaded = refused.iter().filter(|status| status.code() == Code::ResourceExhausted).count();
    for status in &refused {
        match status.code() {
            Code::ResourceExhausted => check(status, Code::ResourceExhausted, "OVERLOADED"),
            _ => check(status, Code::Unavailable, "STORE_UNAVAILABLE"),
        }
    }
    println!("{} of 20,000 refused, {overloaded} of them at once", refused.len());
    assert!(overloaded > 0);
    victim.report("20,000 calls without a store", before);
    wait_for("the store", || async { victim.client.reserve(reserve("after")).await.ok() }).await;
    victim.serves().await;
}
