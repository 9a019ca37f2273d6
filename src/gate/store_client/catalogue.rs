//! This sidecar's copy of the catalogue. It is fetched every second, and never prices a call when it is older than
//! eight seconds.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{store_calls::StoreCalls, store_time::StoreTime};
use crate::{
    domain::{
        Damaged,
        catalogue::{self, VersionedCatalogue},
        seed::Seed,
    },
    gate::error::GateError,
    transaction::{Outcome, Record, Reply},
};

/// Interval between two fetches.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Maximum age of a copy that prices a call, in milliseconds of the store's time. An older one is replaced first. The
/// rest of [`catalogue::MIN_NOTICE_MS`] is left for the call's transaction to reach the store, which checks that it
/// arrives in time.
const MAX_AGE_MS: i64 = 8_000;

/// A copy of the catalogue that tasks share.
#[derive(Debug)]
pub(crate) struct SharedCatalogue {
    copy: watch::Sender<Arc<VersionedCatalogue>>,
    store_time: Arc<StoreTime>,
    /// The catalogue that is written if the store has none. The seed's teams are left out.
    seed: Seed,
}

impl SharedCatalogue {
    /// Fetches the catalogue. Writes that of the seed first if the store has none.
    pub(crate) async fn open(store: &StoreCalls, store_time: &Arc<StoreTime>, seed: &Seed) -> Result<Self, GateError> {
        let store_time = Arc::clone(store_time);
        let seed = Seed { teams: Vec::new(), ..seed.clone() };
        let (catalogue, _) = fetch(store, &seed).await?;
        let (copy, _) = watch::channel(Arc::new(catalogue));
        Ok(Self { copy, store_time, seed })
    }

    /// Returns a copy that is recent enough to price a call with at a time of the store, in Unix milliseconds. Fetches
    /// the catalogue if the copy is too old.
    pub(crate) async fn fresh_at(&self, now_ms: i64, store: &StoreCalls) -> Result<Arc<VersionedCatalogue>, GateError> {
        let copy = Arc::clone(&self.copy.borrow());
        if is_fresh_at(now_ms, &copy) {
            return Ok(copy);
        }
        // Rare branches on the path of a call are boxed, which keeps the future of every call small.
        Box::pin(self.refresh(store)).await
    }

    /// Returns whether the copy is recent enough to price a call with.
    pub(crate) fn is_fresh(&self) -> bool {
        is_fresh_at(self.store_time.now_ms(), &self.copy.borrow())
    }

    /// Fetches the catalogue. Writes that of the seed if the store has lost it.
    pub(crate) async fn refresh(&self, store: &StoreCalls) -> Result<Arc<VersionedCatalogue>, GateError> {
        let (catalogue, was_missing) = fetch(store, &self.seed).await?;
        if was_missing {
            tracing::warn!(
                "the store had no plans and rate cards, as if it had been emptied; wrote the configured ones"
            );
        }
        let catalogue = Arc::new(catalogue);
        self.copy.send_replace(Arc::clone(&catalogue));
        Ok(catalogue)
    }

    /// Fetches the catalogue every second. Never returns.
    pub(crate) async fn keep_fresh(&self, store: &StoreCalls) {
        let mut ticks = interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.refresh(store).await {
                Err(error) if error.is_store_outage() => tracing::debug!(%error, "the catalogue could not be fetched"),
                Err(error) => tracing::warn!(%error, "the catalogue could not be fetched"),
                Ok(_) => {}
            }
        }
    }
}

/// A copy from the far future was read before the store's clock was set back. It is as old as one from the past.
fn is_fresh_at(now_ms: i64, copy: &VersionedCatalogue) -> bool {
    (now_ms - copy.read_at_ms).abs() <= MAX_AGE_MS
}

/// Reads the catalogue. Writes that of the seed if there is none, and returns whether it did.
async fn fetch(store: &StoreCalls, seed: &Seed) -> Result<(VersionedCatalogue, bool), GateError> {
    let reply = store.transact(catalogue::read()).await?;
    if let Some(catalogue) = catalogue_in(&reply)? {
        return Ok((catalogue, false));
    }
    let reply = store.transact(catalogue::seed(&seed.catalogue(reply.now_ms))?).await?;
    let seeded = catalogue_in(&reply)?.ok_or_else(|| Damaged::new("catalogue", "missing after it was written"))?;
    if seeded.catalogue.card_at(reply.now_ms).is_none() {
        tracing::error!("no rate card is in effect, so no call has a price: every configured card takes effect later");
    }
    Ok((seeded, matches!(reply.outcome, Outcome::Applied { .. })))
}

/// Returns the catalogue in a reply to a transaction on it, or `None` if the store has none.
pub(crate) fn catalogue_in(reply: &Reply) -> Result<Option<VersionedCatalogue>, GateError> {
    match reply.records.first() {
        Some(Record::Hash(fields)) => Ok(Some(VersionedCatalogue::from_fields(fields, reply.now_ms)?)),
        _ => Ok(None),
    }
}
