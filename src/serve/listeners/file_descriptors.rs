//! File descriptors. Each connection takes one, so the limit of this process is raised to what the limits of the listeners need.

use super::probe;
use crate::serve::limits::Limits;

/// File descriptors for the store, the log and the listeners themselves, with a reserve.
const OTHER_FILES: u64 = 128;

/// Raises the soft limit of open files to what full listeners need. Logs a warning if the hard limit is lower: the system then
/// refuses connections before the listeners are full.
pub(in crate::serve) fn raise_limit(limits: &Limits) {
    let needed = 2 * u64::from(limits.max_connections) + u64::from(probe::MAX_CONNECTIONS) + OTHER_FILES;
    match rlimit::increase_nofile_limit(needed) {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit of open files is too low for full listeners; raise it (ulimit -n, LimitNOFILE), or lower max_connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot read or raise the limit of open files"),
    }
}
