//! A server that is broken or hostile does not make a sidecar's memory grow without bound.

use std::fs;

use tollgate::store::StoreLocation;

use super::stage::{TEAM, asks_to_repeat};
use crate::suite::support::{
    client::{prompt_test, team_without_seat, until_answered},
    proxy::{EndlessReply, Proxy},
    servers::{Engine, Server},
    sidecar::Sidecar,
};

const REPLIES: [EndlessReply; 6] = [
    EndlessReply { start: "$1000000000000\r\n", repeated: "x" },
    EndlessReply { start: "*1000000000\r\n", repeated: ":1\r\n" },
    EndlessReply { start: "", repeated: "*1000\r\n" },
    EndlessReply { start: "+", repeated: "x\n" },
    EndlessReply { start: "*2\r\n$16777216\r\n", repeated: "x" },
    EndlessReply { start: "=-1\r\n", repeated: "x" },
];

/// Maximum growth of the process's memory: two buffers and the values of one reply, and what else a sidecar needs.
const BOUND_KIB: u64 = 80 * 1024;

/// The call that gets an endless reply fails, and the next one is served on a new connection.
#[tokio::test]
async fn an_endless_reply_is_not_kept_in_memory() {
    for reply in REPLIES {
        let server = Server::start_on_port(Engine::Redis, &[]);
        let proxy = Proxy::to(server.port());
        let location = StoreLocation::Redis(format!("redis://127.0.0.1:{}", proxy.port));
        let sidecar = Sidecar::start_with(&location, &["--escrow=off", "--store-wait=250ms"]);
        let client = sidecar.client();
        client.put_team(team_without_seat(TEAM, 100)).await;
        client.proceed(prompt_test(TEAM, "before", "gpt-4o")).await;
        let before = memory_kib(&sidecar, "VmRSS");

        proxy.answer_endlessly("reservation:", reply);
        asks_to_repeat(&client.reserve(prompt_test(TEAM, "endless", "gpt-4o")).await.unwrap_err());
        until_answered("a reservation", || client.reserve(prompt_test(TEAM, "endless", "gpt-4o"))).await;

        let peak = memory_kib(&sidecar, "VmHWM");
        println!("{reply:?}: {before} KiB before, {peak} KiB at most");
        assert!(peak < before + BOUND_KIB, "{reply:?}: {before} KiB before, {peak} KiB at most");
        assert_eq!(client.books(TEAM).await.balance.held, 4);
        let log = sidecar.stderr();
        assert!(log.contains("store lost") && log.contains("the server sent a"), "{log}");
    }
}

/// Returns the resident memory of the process: now (VmRSS), or its peak (VmHWM).
fn memory_kib(sidecar: &Sidecar, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", sidecar.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}
