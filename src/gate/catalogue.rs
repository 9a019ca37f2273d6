//! This sidecar's copy of the catalogue: fetched every second, and too old to price anything after eight.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{GateError, store_calls::StoreCalls, store_time::StoreTime};
use crate::{
    domain::{
        Damaged,
        catalogue::{self, VersionedCatalogue},
        seed::Seed,
    },
    transaction::{Outcome, Record, Reply},
};

/// How often the catalogue is fetched.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// A copy that is older, in milliseconds of the store's time, is replaced before it prices a call. The call's
/// transaction has the rest of [`catalogue::MIN_NOTICE_MS`] to reach the store, which checks that it does.
const MAX_AGE_MS: i64 = 8_000;

/// A copy of the catalogue that tasks share.
#[derive(Debug)]
pub(crate) struct SharedCatalogue {
    copy: watch::Sender<Arc<VersionedCatalogue>>,
    store_time: Arc<StoreTime>,
    /// What is written if the store has none; of its teams nothing is kept.
    seed: Seed,
}

impl SharedCatalogue {
    /// Seeds the catalogue if there is none, and fetches it.
    pub(crate) async fn open(store: &StoreCalls, store_time: &Arc<StoreTime>, seed: &Seed) -> Result<Self, GateError> {
        let store_time = Arc::clone(store_time);
        let seed = Seed { teams: Vec::new(), ..seed.clone() };
        let (catalogue, _) = fetch(store, &seed).await?;
        let (copy, _) = watch::channel(Arc::new(catalogue));
        Ok(Self { copy, store_time, seed })
    }

    /// A copy that is fresh enough to price with; fetched now if the one at hand is too old.
    pub(crate) async fn fresh(&self, store: &StoreCalls) -> Result<Arc<VersionedCatalogue>, GateError> {
        self.fresh_at(self.store_time.now_ms(), store).await
    }

    /// The same at a time of the store, in Unix milliseconds.
    pub(crate) async fn fresh_at(&self, now_ms: i64, store: &StoreCalls) -> Result<Arc<VersionedCatalogue>, GateError> {
        let copy = Arc::clone(&self.copy.borrow());
        if is_fresh_at(now_ms, &copy) {
            return Ok(copy);
        }
        // What is seldom needed does not make room for every call larger; so it is with all that is boxed on a call's
        // way.
        Box::pin(self.refresh(store)).await
    }

    /// Whether the copy at hand is fresh enough to price with.
    pub(crate) fn is_fresh(&self) -> bool {
        is_fresh_at(self.store_time.now_ms(), &self.copy.borrow())
    }

    /// Fetches the catalogue.
    pub(crate) async fn refresh(&self, store: &StoreCalls) -> Result<Arc<VersionedCatalogue>, GateError> {
        let (catalogue, was_missing) = fetch(store, &self.seed).await?;
        if was_missing {
            tracing::warn!(
                "the store's plans and rate cards were gone, as if somebody had emptied it; they are seeded anew"
            );
        }
        let catalogue = Arc::new(catalogue);
        self.copy.send_replace(Arc::clone(&catalogue));
        Ok(catalogue)
    }
}

/// A copy from far ahead was read before the store's clock was set back.
fn is_fresh_at(now_ms: i64, copy: &VersionedCatalogue) -> bool {
    (now_ms - copy.read_at_ms).abs() <= MAX_AGE_MS
}

/// Reads the catalogue, and writes that of the seed if there is none; whether it did so.
async fn fetch(store: &StoreCalls, seed: &Seed) -> Result<(VersionedCatalogue, bool), GateError> {
    let reply = store.transact(catalogue::read()).await?;
    if let Some(catalogue) = read(&reply)? {
        return Ok((catalogue, false));
    }
    let reply = store.transact(catalogue::seed(&seed.catalogue(reply.now_ms))?).await?;
    let seeded = read(&reply)?.ok_or_else(|| Damaged::new("catalogue", "missing after it was written"))?;
    if seeded.catalogue.card_at(reply.now_ms).is_none() {
        tracing::error!(
            "no rate card is in effect yet, so no call has a price: the configuration's cards are all of later"
        );
    }
    Ok((seeded, matches!(reply.outcome, Outcome::Applied { .. })))
}

/// Reads the catalogue from a reply to one of its transactions; `None` if there is none.
pub(crate) fn read(reply: &Reply) -> Result<Option<VersionedCatalogue>, GateError> {
    match reply.records.first() {
        Some(Record::Hash(fields)) => Ok(Some(VersionedCatalogue::from_fields(fields, reply.now_ms)?)),
        _ => Ok(None),
    }
}
