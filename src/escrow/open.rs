//! The reservations of one team that were opened from leases and are not settled: all that is kept of each is its grant.

use std::{collections::BTreeMap, hash::BuildHasher as _, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::domain::{
    id::Id,
    reservation::{Held, MAX_GRANT_BYTES, Reservation, leased_id, read_leased, write_leased},
};

/// Open reservations, found by their id, and by when they are due.
#[derive(Debug, Default)]
pub(super) struct OpenReservations {
    grants: HashTable<Arc<[u8]>>,
    hasher: RandomState,
    /// The hashes of the ids that may be due, by the second of the store's time in which they are. Those that were settled meanwhile
    /// are found out when it has come.
    due: BTreeMap<i64, Vec<u64>>,
}

impl OpenReservations {
    /// Takes one in; its grant.
    pub(super) fn insert(&mut self, id: &Id, lease: &Id, reservation: &Reservation) -> Arc<[u8]> {
        let mut bytes = [0; MAX_GRANT_BYTES];
        let length = write_leased(id, lease, reservation, &mut bytes);
        let grant: Arc<[u8]> = bytes.get(..length.unwrap_or_default()).unwrap_or_default().into();
        let hash = self.hasher.hash_one(id.as_str());
        let hasher = &self.hasher;
        self.grants
            .insert_unique(hash, Arc::clone(&grant), |other| hasher.hash_one(leased_id(other).unwrap_or_default()));
        self.due.entry(second(reservation.expires_at_ms)).or_default().push(hash);
        grant
    }

    /// One of them, and its grant.
    pub(super) fn find(&self, id: &Id) -> Option<(Held, Arc<[u8]>)> {
        let hash = self.hasher.hash_one(id.as_str());
        let grant = self.grants.find(hash, |grant| leased_id(grant) == Some(id.as_str()))?;
        read_leased(grant).map(|(_, held)| (held, Arc::clone(grant)))
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: &Id) -> bool {
        let hash = self.hasher.hash_one(id.as_str());
        match self.grants.find_entry(hash, |grant| leased_id(grant) == Some(id.as_str())) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, Held)> {
        self.grants.iter().filter_map(|grant| read_leased(grant))
    }

    /// Those that are due at a time of the store, in Unix milliseconds; at most so many.
    pub(super) fn take_due(&mut self, now_ms: i64, limit: usize) -> Vec<(Id, Held)> {
        let mut found = Vec::new();
        let mut not_due = Vec::new();
        while let Some(mut entry) = self.due.first_entry().filter(|entry| *entry.key() <= second(now_ms)) {
            let Some(hash) = entry.get_mut().pop() else {
                entry.remove();
                continue;
            };
            for (id, held) in self.grants.iter_hash(hash).filter_map(|grant| read_leased(grant)) {
                if held.reservation.expires_at_ms <= now_ms {
                    found.push((id, held));
                } else {
                    not_due.push((held.reservation.expires_at_ms, hash));
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        for (due_ms, hash) in not_due {
            self.due.entry(second(due_ms)).or_default().push(hash);
        }
        found
    }

    pub(super) fn note_due(&mut self, id: &Id, due_ms: i64) {
        let hash = self.hasher.hash_one(id.as_str());
        self.due.entry(second(due_ms)).or_default().push(hash);
    }
}

fn second(at_ms: i64) -> i64 {
    at_ms.div_euclid(1_000)
}
