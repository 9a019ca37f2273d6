//! File descriptors, of which each connection takes one: the system's limit for this process is raised to what the limits
//! of the listeners need.

use super::probe;
use crate::serve::limits::Limits;

/// What the store, the log and the listeners themselves take, and some.
const BESIDES: u64 = 128;

/// Raises the soft limit of open files to what all listeners need when they are full, and says so if the hard limit is
/// lower: connections are then refused by the system before they are by us.
pub(in crate::serve) fn provide(limits: &Limits) {
    let needed = 2 * u64::from(limits.max_connections) + probe::MAX_CONNECTIONS as u64 + BESIDES;
    match rlimit::increase_nofile_limit(needed) {
        Ok(provided) if provided < needed => tracing::warn!(
            "this process may have {provided} files open, and full listeners need {needed}: raise the limit (ulimit -n, \
             LimitNOFILE), or lower max_connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot tell how many files this process may have open"),
    }
}
