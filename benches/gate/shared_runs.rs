//! Runs that executors share: each run of a team has ten blocks, which any executor may execute.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use super::operation::BLOCKS_PER_RUN;

/// Number of executed blocks of each team at one server.
pub(crate) struct SharedRuns(Vec<AtomicU32>);

impl SharedRuns {
    /// Returns the runs at a server, which continue from one measurement to the next.
    pub(crate) fn of(address: &str, teams: u32) -> Arc<Self> {
        static BY_SERVER: Mutex<BTreeMap<(String, u32), Arc<SharedRuns>>> = Mutex::new(BTreeMap::new());
        let mut by_server = BY_SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Self((0..teams).map(|_| AtomicU32::new(0)).collect()));
        Arc::clone(by_server.entry((address.to_owned(), teams)).or_insert_with(new))
    }

    /// Returns the id of the run for a team's next block.
    pub(crate) fn next(&self, team: u32) -> String {
        let index = team as usize;
        let block = self.0.get(index).map_or(0, |blocks| blocks.fetch_add(1, Ordering::Relaxed));
        format!("{:08x}-{:08x}-{:08x}", std::process::id(), team, block / BLOCKS_PER_RUN)
    }
}
