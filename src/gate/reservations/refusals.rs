//! Suspends calls: by the store's refusal, or by an earlier one that is remembered for a second.

use super::{Reservations, pricing::ReserveContext};
use crate::{
    cache::{CachedRefusal, RefusalQuery},
    domain::{catalogue::VersionedCatalogue, id::Id, reservation::Content, suspension::Suspension, terms::Terms},
    gate::calls::{ReserveAnswer, ReserveCall, ReserveDecision, SuspendAnswer},
};

impl Reservations {
    /// Answers a call with a remembered refusal, if one applies to it.
    pub(super) fn refusal_from_memory(
        &self,
        call: &ReserveCall,
        id: &Id,
        context: &ReserveContext<'_>,
    ) -> Option<ReserveAnswer> {
        let ReserveContext { priced, catalogue, at_ms, now_ms, .. } = *context;
        let run = flow_and_run(&priced.content);
        let query =
            RefusalQuery { credits: priced.price.credits, run, trigger: call.trigger, now_ms, monotonic_ms: at_ms };
        let (terms, mut refusal) = self.store.cache().find_refusal(&call.team, &query)?;
        if call.reservation.is_some() && self.may_exist(&call.team, id, &refusal) {
            return None;
        }
        refusal.in_current_run &= run.is_some() && refusal.is_of(run);
        Some(self.suspended(call, catalogue, &terms, &refusal, priced.price.credits, now_ms))
    }

    /// Answers a call with a refusal, at a time of the store, in Unix milliseconds.
    pub(super) fn suspended(
        &self,
        call: &ReserveCall,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        refusal: &CachedRefusal,
        credits: i64,
        now_ms: i64,
    ) -> ReserveAnswer {
        let suspension = Suspension::new(terms, &refusal.account, credits, &refusal.holds, refusal.in_current_run);
        let retry_after_ms = suspension.retry_after_ms(now_ms);
        if !call.dry_run {
            self.decisions.team_suspended(&call.team, &suspension, self.store.monotonic_ms());
        }
        ReserveAnswer {
            decision: ReserveDecision::Suspend(SuspendAnswer { suspension, retry_after_ms }),
            balance: self.store.balance(catalogue, terms, refusal.account.clone()),
        }
    }

    /// Returns whether the id may have a reservation. Then only the store can answer, because the repeat of a call gets
    /// the first answer. Another sidecar may have settled one that this sidecar never saw. So each id is refused from
    /// memory once, and then the store is asked.
    fn may_exist(&self, team: &Id, id: &Id, refusal: &CachedRefusal) -> bool {
        let open = refusal.holds.iter().any(|hold| hold.is_of(id));
        let verified_absent = refusal.reservation == *id;
        open || self.recent.recall(team, id).is_some() || !(verified_absent || self.recent.may_refuse(team, id))
    }
}

/// Returns the flow and the run of a call that belongs to a run.
pub(super) fn flow_and_run(content: &Content) -> Option<(&Id, &Id)> {
    content.run_of_trigger().map(|run| (&content.flow, run))
}
