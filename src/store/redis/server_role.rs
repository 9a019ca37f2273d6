//! Which servers can keep records by their role: a primary, or the only node of a cluster that has hash slots.

use redis::{ErrorKind, InfoDict, RedisError, ServerErrorKind, aio::MultiplexedConnection};

use super::{super::location::StoreLocation, unfit_server::UnfitServer};

/// Number of hash slots of a cluster.
const SLOTS: u32 = 16_384;

/// Refuses a Sentinel, a replica, and a node of a cluster whose other nodes have hash slots.
pub(super) async fn check_role(
    info: &InfoDict,
    connection: &mut MultiplexedConnection,
    location: &StoreLocation,
) -> Result<(), UnfitServer> {
    let reported = |name: &str| info.get::<String>(name);
    let refused = |reason, advice: String| Err(UnfitServer::Misconfigured { reason, advice });
    // Redis and Valkey have different names for it.
    let mode = reported("redis_mode").or_else(|| reported("server_mode"));
    if mode.as_deref() == Some("sentinel") {
        return refused(
            "its server is a Sentinel",
            format!("{location} is a Sentinel, which keeps no records. Name the primary that it monitors instead."),
        );
    }
    let is_replica = reported("role").is_some_and(|role| role != "master");
    let is_cluster = reported("cluster_enabled").is_some_and(|enabled| enabled == "1");
    match (is_replica, is_cluster) {
        (true, true) => refused(
            "its server is a replica",
            format!(
                "{location} is a replica of a Redis Cluster, whose records its primary replaces. Tollgate does not \
                 support clusters of several nodes. Use a single server."
            ),
        ),
        (true, false) => refused(
            "its server is a replica",
            format!("{location} is a replica, whose records its primary replaces. Name the primary instead."),
        ),
        (false, true) => check_slots(connection, location).await,
        (false, false) => Ok(()),
    }
}

/// Refuses a node of a cluster that does not have all hash slots: the keys of most teams would be on other nodes.
async fn check_slots(connection: &mut MultiplexedConnection, location: &StoreLocation) -> Result<(), UnfitServer> {
    let refused = |reason, advice: String| Err(UnfitServer::Misconfigured { reason, advice });
    match redis::cmd("CLUSTER").arg("NODES").query_async::<String>(connection).await {
        Ok(nodes) => match own_slots(&nodes) {
            SLOTS => Ok(()),
            slots => refused(
                "its server is one of several nodes of a cluster",
                format!(
                    "{location} is one of several nodes of a Redis Cluster and has {slots} of its {SLOTS} hash slots. \
                     Tollgate needs all keys on one node. Use a single server, or a cluster in which this node has all \
                     hash slots."
                ),
            ),
        },
        Err(error) if is_forbidden(&error) => refused(
            "its server is a node of a cluster that does not list its nodes",
            format!(
                "{location} is a node of a Redis Cluster and does not tell whether it has all hash slots ({error}). Permit \
                 its user +cluster|nodes, or use a single server."
            ),
        ),
        Err(error) => Err(error.into()),
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
}

/// Returns the number of hash slots of the node that answered `CLUSTER NODES`, without those that are being moved.
fn own_slots(nodes: &str) -> u32 {
    let own = nodes.lines().find(|line| line.split(' ').nth(2).is_some_and(|flags| flags.contains("myself")));
    let fields: Vec<_> = own.map(|line| line.split(' ').skip(8).collect()).unwrap_or_default();
    let moving = fields.iter().filter(|field| field.starts_with("[") && field.contains("->-")).count();
    let owned: u32 = fields.iter().filter_map(|field| slots_in(field)).sum();
    owned.saturating_sub(u32::try_from(moving).unwrap_or(u32::MAX))
}

/// Returns the number of slots in `FIRST-LAST` or `SLOT`.
fn slots_in(field: &str) -> Option<u32> {
    let (first, last) = field.split_once('-').unwrap_or((field, field));
    let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
    last.checked_sub(first).map(|more| more.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_slots_of_a_node_are_counted() {
        let own = |slots: &str| {
            let other = "33e9 127.0.0.1:7001@17001 master - 0 1426238316232 2 connected 0-16383";
            own_slots(&format!("{other}\n9c83 127.0.0.1:7000@17000 myself,master - 0 0 1 connected{slots}\n"))
        };
        for (slots, count) in [
            (" 0-16383", SLOTS),
            ("", 0),
            (" 5", 1),
            (" 0-9 12 20-21", 13),
            (" 0-16383 [77->-33e9]", SLOTS - 1),
            (" 0-16382 [16383-<-33e9]", SLOTS - 1),
        ] {
            assert_eq!(own(slots), count, "{slots}");
        }
        assert_eq!(own_slots(""), 0);
    }
}
