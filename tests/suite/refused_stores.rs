//! Servers that a sidecar refuses at its start: the first line of the error says what is wrong.

use std::net::TcpListener;

use redis::Connection;

use crate::suite::{
    process::serving,
    support::{
        servers::{Engine, Server},
        sidecar::{argument, tollgate},
        wait_until,
    },
};

const ENGINES: [Engine; 2] = [Engine::Redis, Engine::Valkey];

/// Number of hash slots of a cluster.
const SLOTS: u16 = 16_384;

/// Asserts that a start on this store ends with this exit code, and that the first line of the error contains these texts. With
/// the default `store_start_wait`, only a refusal at once ends before the test's own timeout.
#[track_caller]
fn refused(store: &str, code: i32, says: &[&str]) {
    refused_with(store, &[], code, says);
}

#[track_caller]
fn refused_with(store: &str, more: &[&str], code: i32, says: &[&str]) {
    let output = tollgate(&[&serving(store), more].concat());
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{store}: {printed}");
    let first = printed.lines().find(|line| line.starts_with("tollgate: ")).unwrap_or_default();
    assert!(says.iter().all(|text| first.contains(text)), "{store}: {printed}");
}

/// Returns the URL of a server that was started on a port.
fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

#[test]
fn a_replica_is_refused_by_name() {
    for engine in ENGINES {
        let primary = Server::start_on_port(engine, &[]);
        let replica = Server::start_with(engine, &["--replicaof", "127.0.0.1", &primary.port().to_string()]);
        refused(&argument(&replica.location()), 78, &["is a replica", "Name the primary"]);
    }
}

#[test]
fn a_sentinel_is_refused_by_name() {
    for engine in ENGINES {
        let sentinel = Server::start_sentinel(engine);
        refused(&url(&sentinel), 78, &["is a Sentinel", "Name the primary"]);
        refused(&format!("{}/3", url(&sentinel)), 78, &["is a Sentinel"]);
    }
}

/// Each node of a cluster of three is refused, a replica of one too.
#[test]
fn a_node_of_a_cluster_is_refused_by_name() {
    for engine in ENGINES {
        let nodes: Vec<_> = (0..3).map(|_| cluster_node(engine)).collect();
        for (number, (node, _)) in (0_u16..).zip(&nodes) {
            let first = number * (SLOTS / 3);
            let last = if number == 2 { SLOTS - 1 } else { first + SLOTS / 3 - 1 };
            cluster(&mut node.connect(), &["ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        let (replica, _) = cluster_node(engine);
        for (node, bus) in &nodes {
            cluster(&mut replica.connect(), &["MEET", "127.0.0.1", &node.port().to_string(), &bus.to_string()]);
        }
        for (node, _) in &nodes {
            wait_until("the cluster is complete", || {
                let info = cluster(&mut node.connect(), &["INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            });
            refused(&url(node), 78, &["is one of several nodes of a Redis Cluster", "single server"]);
            // A cluster has only the database 0.
            refused(&format!("{}/3", url(node)), 78, &["of a Redis Cluster"]);
        }
        let id = cluster(&mut nodes[0].0.connect(), &["MYID"]);
        wait_until("the replica knows its primary", || {
            cluster(&mut replica.connect(), &["NODES"]).contains(&id)
                && try_cluster(&mut replica.connect(), &["REPLICATE", &id]).is_ok()
        });
        refused(&url(&replica), 78, &["is a replica of a Redis Cluster"]);
    }
}

/// Whether a node has all hash slots cannot be seen without a permission, which the error names.
#[test]
fn a_cluster_whose_nodes_cannot_be_listed_is_refused() {
    for engine in ENGINES {
        let (node, _) = cluster_node(engine);
        cluster(&mut node.connect(), &["ADDSLOTSRANGE", "0", "16383"]);
        let rules = "SETUSER limited reset on >pw ~* +@all -cluster";
        redis::cmd("ACL").arg(rules.split(' ').collect::<Vec<_>>()).exec(&mut node.connect()).unwrap();
        let store = format!("redis://limited:pw@127.0.0.1:{}", node.port());
        refused(&store, 78, &["is a node of a Redis Cluster", "cluster|nodes"]);
    }
}

#[test]
fn a_wrong_database_index_is_named() {
    for engine in ENGINES {
        let server = Server::start_on_port(engine, &["--requirepass", "right"]);
        let at = |login: &str| format!("redis://{login}127.0.0.1:{}/99", server.port());
        refused(&at(":right@"), 78, &["database index out of range"]);
        // Without a login, the server refuses the login first.
        refused(&at(""), 78, &["authentication failed"]);
    }
}

#[test]
fn a_failed_login_is_named() {
    for engine in ENGINES {
        let server = Server::start_on_port(engine, &["--requirepass", "right"]);
        for login in ["", ":wrong@", "nobody:right@"] {
            let store = format!("redis://{login}127.0.0.1:{}", server.port());
            refused(&store, 78, &["authentication failed", "TOLLGATE_STORE"]);
        }
    }
}

/// Without a wait, the first attempt decides.
#[test]
fn the_cause_of_an_unreachable_store_is_named() {
    let nowhere = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (store, cause) in [
        ("redis://tollgate.invalid:6379".to_owned(), "host name not found"),
        (format!("redis://{closed}"), "connection refused"),
        (format!("redis+unix://{}/none", nowhere.path().display()), "no such socket"),
        (format!("redis://{}", silent.local_addr().unwrap()), "no answer within 3 s"),
    ] {
        refused_with(&store, &["--store-start-wait=0s"], 69, &["cannot be reached", cause]);
    }
}

/// Starts a server of a cluster, without hash slots. Returns it with its port for other nodes.
fn cluster_node(engine: Engine) -> (Server, u16) {
    let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (Server::start_on_port(engine, &["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]), bus)
}

fn cluster(connection: &mut Connection, arguments: &[&str]) -> String {
    try_cluster(connection, arguments).unwrap()
}

fn try_cluster(connection: &mut Connection, arguments: &[&str]) -> redis::RedisResult<String> {
    redis::cmd("CLUSTER").arg(arguments).query(connection)
}
