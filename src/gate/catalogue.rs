//! This sidecar's copy of the catalogue: fetched every second, and too old to price anything after eight.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::GateError;
use crate::{
    clock::Clock,
    domain::Damaged,
    domain::catalogue::{self, Catalogue, VersionedCatalogue},
    store::Store,
    transaction::{Record, Reply},
};

/// How often the catalogue is fetched.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// A copy prices calls until it is so old, in milliseconds. A change takes effect at least 10 s after it was accepted.
const MAX_AGE_MS: i64 = 8_000;

/// A copy of the catalogue that tasks share.
#[derive(Debug)]
pub(crate) struct SharedCatalogue {
    copy: watch::Sender<Copy>,
    clock: Clock,
}

#[derive(Clone, Debug)]
struct Copy {
    catalogue: Arc<VersionedCatalogue>,
    /// The monotonic time when it was asked for, in milliseconds.
    asked_at_ms: i64,
}

impl SharedCatalogue {
    /// Seeds the catalogue if there is none, and fetches it.
    pub(crate) async fn open(store: &Store, clock: &Clock) -> Result<Self, GateError> {
        let asked_at_ms = clock.monotonic_ms();
        let catalogue = Arc::new(fetch(store).await?);
        let (copy, _) = watch::channel(Copy { catalogue, asked_at_ms });
        Ok(Self { copy, clock: clock.clone() })
    }

    /// A copy that is fresh enough to price with; fetched now if the one at hand is too old.
    pub(crate) async fn fresh(&self, store: &Store) -> Result<Arc<VersionedCatalogue>, GateError> {
        let copy = self.copy.borrow().clone();
        if self.clock.monotonic_ms() - copy.asked_at_ms <= MAX_AGE_MS {
            return Ok(copy.catalogue);
        }
        self.refresh(store).await
    }

    /// Fetches the catalogue.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<Arc<VersionedCatalogue>, GateError> {
        let asked_at_ms = self.clock.monotonic_ms();
        let catalogue = Arc::new(fetch(store).await?);
        self.copy.send_if_modified(|copy| {
            let newer = asked_at_ms >= copy.asked_at_ms;
            if newer {
                *copy = Copy { catalogue: catalogue.clone(), asked_at_ms };
            }
            newer
        });
        Ok(catalogue)
    }
}

/// Reads the catalogue, and writes the one that ships if there is none.
async fn fetch(store: &Store) -> Result<VersionedCatalogue, GateError> {
    let reply = store.transact(catalogue::read()).await?;
    if let Some(catalogue) = read(&reply)? {
        return Ok(catalogue);
    }
    let reply = store.transact(catalogue::seed(&Catalogue::shipped())?).await?;
    read(&reply)?.ok_or_else(|| Damaged::new("catalogue", "missing after it was written").into())
}

/// Reads the catalogue from a reply to one of its transactions; `None` if there is none.
pub(crate) fn read(reply: &Reply) -> Result<Option<VersionedCatalogue>, GateError> {
    match reply.records.first() {
        Some(Record::Hash(fields)) => Ok(Some(VersionedCatalogue::from_fields(fields)?)),
        _ => Ok(None),
    }
}
