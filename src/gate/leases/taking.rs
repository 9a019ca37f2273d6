//! Takes leases for teams.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::Leases;
use crate::{
    domain::{
        id::Id,
        lease::{Lease, LeaseGrant, LeaseVerdict, size_lease},
    },
    escrow::LeaseRequest,
    gate::{error::GateError, store_client::assumptions},
    metrics::LeaseEvent,
};

/// Pause before a request for a lease is sent again whose answer did not come.
const RESEND_AFTER: Duration = Duration::from_millis(50);

/// Part of a lease's term during which a request without an answer is sent again. A lease that starts later is of
/// little use.
const RESEND_PART: i64 = 4;

impl Leases {
    /// Takes a lease for a team in the background.
    pub(crate) fn take_ahead(self: &Arc<Self>, team: &Id, wanted: LeaseRequest) {
        let (leases, team) = (Arc::clone(self), team.clone());
        self.requests.spawn(async move { leases.take(&team, wanted).await });
    }

    /// Takes a lease for a team, if the store grants one.
    pub(crate) async fn take(&self, team: &Id, wanted: LeaseRequest) {
        match self.request(team, wanted).await {
            Ok(Some((lease, open_leases))) => {
                self.store.metrics().leases(LeaseEvent::Granted, 1);
                // If the lease is not given back by then, any sweep of the team ends it.
                let reclaim_at_ms = lease.granted_at_ms + self.held.escrow.options().terms.reclaim_after_ms();
                self.store.cache().note_due(team, reclaim_at_ms);
                if let Some(rest) = self.held.escrow.add_lease(team, lease, open_leases) {
                    self.give_back(team, vec![rest]).await;
                }
            }
            Ok(None) => self.not_granted(team),
            Err(error) => {
                tracing::debug!(%team, %error, "no lease could be taken");
                self.not_granted(team);
            }
        }
    }

    fn not_granted(&self, team: &Id) {
        let escrow = &self.held.escrow;
        escrow.lease_not_granted(team, self.store.monotonic_ms() + escrow.options().policy.retry_pause_ms);
    }

    /// Asks the store for a lease. If no answer comes, sends the same id again, so that at most one lease is granted.
    async fn request(&self, team: &Id, wanted: LeaseRequest) -> Result<Option<(Lease, usize)>, GateError> {
        let store = &self.store;
        let options = self.held.escrow.options();
        let catalogue = store.fresh_catalogue().await?;
        let snapshot = store.team_snapshot(team).await?;
        let assumptions = assumptions(&snapshot, &catalogue, store.now_ms());
        let remaining =
            assumptions.remaining.unwrap_or_else(|| snapshot.terms.included(&catalogue.catalogue.included_credits));
        let LeaseRequest { credits, min_credits, open_leases } = wanted;
        let slice = size_lease(credits, options.max_lease_credits, remaining, open_leases, min_credits);
        let Some(id) = self.held.escrow.next_lease_id().filter(|_| slice > 0) else {
            return Ok(None);
        };
        let first_sent_ms = store.monotonic_ms();
        loop {
            let mut step = LeaseGrant::new(team, &id, slice, &assumptions, &options.terms);
            let reply = match store.transact(step.transaction.take()).await {
                Ok(reply) => reply,
                Err(error) => {
                    let is_late = store.monotonic_ms() - first_sent_ms > options.terms.term_ms / RESEND_PART;
                    if is_late || !error.is_store_outage() {
                        return Err(error);
                    }
                    sleep(RESEND_AFTER).await;
                    continue;
                }
            };
            let terms = store.team_exists(team, step.terms(&reply)?)?;
            store.learn(team, &terms, step.account(&reply)?, reply.outcome);
            let LeaseVerdict::Granted { credits, granted_at_ms } = step.verdict(&reply)? else {
                return Ok(None);
            };
            let between_ms = first_sent_ms..=store.monotonic_ms();
            let version = snapshot.terms.version;
            let lease = Lease::granted(id, step.cycle, version, credits, granted_at_ms, between_ms, &options.terms);
            return Ok(Some((lease, step.open_leases(&reply))));
        }
    }
}
