//! The open reservations of one team that were opened from leases. To save memory, each is stored as its grant and
//! nothing else.

use std::{collections::BTreeMap, hash::BuildHasher as _, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::domain::{
    id::Id,
    reservation::{BackedReservation, MAX_GRANT_BYTES, Reservation, leased_id, read_leased, write_leased},
};

/// Open reservations, found by ID and by when they are due.
#[derive(Debug, Default)]
pub(super) struct OpenReservations {
    grants: HashTable<Arc<[u8]>>,
    hasher: RandomState,
    /// Hashes of the IDs that are due, by the second of the store's time. IDs that were settled in the meantime are
    /// sorted out when their second has come.
    due: BTreeMap<i64, Vec<OpenKey>>,
}

/// A hash by which an ID is found. 32 bits are enough to make collisions rare among millions of IDs, and save memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenKey(u32);

impl OpenReservations {
    /// Returns the hash of an ID.
    pub(super) fn key(&self, id: &Id) -> OpenKey {
        key(&self.hasher, id.as_str())
    }

    /// Adds a reservation that is not there yet. Returns its grant.
    pub(super) fn insert(&mut self, key: OpenKey, id: &Id, lease: &Id, reservation: &Reservation) -> Arc<[u8]> {
        let mut bytes = [0; MAX_GRANT_BYTES];
        let length = write_leased(id, lease, reservation, &mut bytes);
        let grant: Arc<[u8]> = bytes.get(..length.unwrap_or_default()).unwrap_or_default().into();
        let hasher = &self.hasher;
        let hash_of = |other: &Arc<[u8]>| self::key(hasher, leased_id(other).unwrap_or_default()).hash();
        self.grants.insert_unique(key.hash(), Arc::clone(&grant), hash_of);
        self.due.entry(second(reservation.expires_at_ms)).or_default().push(key);
        grant
    }

    /// Returns whether a reservation is there.
    pub(super) fn contains(&self, key: OpenKey, id: &Id) -> bool {
        self.grants.find(key.hash(), |grant| leased_id(grant) == Some(id.as_str())).is_some()
    }

    /// Returns a reservation and its grant.
    pub(super) fn find(&self, id: &Id) -> Option<(BackedReservation, Arc<[u8]>)> {
        let grant = self.grants.find(self.key(id).hash(), |grant| leased_id(grant) == Some(id.as_str()))?;
        read_leased(grant).map(|(_, held)| (held, Arc::clone(grant)))
    }

    /// Removes a reservation. Returns whether it was there.
    pub(super) fn remove(&mut self, id: &Id) -> bool {
        match self.grants.find_entry(self.key(id).hash(), |grant| leased_id(grant) == Some(id.as_str())) {
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

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, BackedReservation)> {
        self.grants.iter().filter_map(|grant| read_leased(grant))
    }

    /// Returns the reservations that are due at a time of the store, in Unix milliseconds, at most about `limit`.
    pub(super) fn take_due(&mut self, now_ms: i64, limit: usize) -> Vec<(Id, BackedReservation)> {
        let mut found = Vec::new();
        let mut not_due = Vec::new();
        while let Some(mut entry) = self.due.first_entry().filter(|entry| *entry.key() <= second(now_ms)) {
            let Some(key) = entry.get_mut().pop() else {
                entry.remove();
                continue;
            };
            for (id, held) in self.grants.iter_hash(key.hash()).filter_map(|grant| read_leased(grant)) {
                if held.reservation.expires_at_ms <= now_ms {
                    found.push((id, held));
                } else {
                    not_due.push((held.reservation.expires_at_ms, key));
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        for (due_ms, key) in not_due {
            self.due.entry(second(due_ms)).or_default().push(key);
        }
        found
    }

    pub(super) fn note_due(&mut self, id: &Id, due_ms: i64) {
        let key = self.key(id);
        self.due.entry(second(due_ms)).or_default().push(key);
    }
}

impl OpenKey {
    /// The table uses the low bits for the position and the high bits for a tag, so both halves need the hash.
    fn hash(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

fn key(hasher: &RandomState, id: &str) -> OpenKey {
    let [.., a, b, c, d] = hasher.hash_one(id).to_be_bytes();
    OpenKey(u32::from_be_bytes([a, b, c, d]))
}

fn second(at_ms: i64) -> i64 {
    at_ms.div_euclid(1_000)
}
