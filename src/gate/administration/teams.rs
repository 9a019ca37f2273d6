//! Creates teams and changes their terms.

use super::Administration;
use crate::{
    cache::TeamSnapshot,
    domain::{
        id::Id,
        terms::Terms,
        terms_change::{Change, TeamSettings, TermsChange, TermsVerdict, register},
    },
    gate::{attempts::Attempts, error::GateError, store_client::assumptions},
};

impl Administration {
    /// Creates a team, or replaces its plan, seat, anchor day and override.
    pub(crate) async fn put_team(&self, team: &Id, settings: &TeamSettings, caller: &str) -> Result<Terms, GateError> {
        let change = Change::Settings(settings.clone());
        match self.change_terms(team, &change, caller).await {
            Err(GateError::TeamNotFound) => {}
            done => return done,
        }
        match self.create_team(team, &settings.first_terms(), caller).await? {
            TermsVerdict::Done(terms) => Ok(terms),
            TermsVerdict::Stale(_) => self.change_terms(team, &change, caller).await,
        }
    }

    /// Creates a team with these terms. If the team exists, the verdict is stale and has its present terms.
    pub(super) async fn create_team(&self, team: &Id, first: &Terms, caller: &str) -> Result<TermsVerdict, GateError> {
        // The list of teams comes first. A listed team that does not exist is skipped, but a team that is not listed
        // would never be swept.
        self.store.transact(register(team)).await?;
        let mut step = TermsChange::create(team, first, caller);
        let reply = self.store.transact(step.transaction.take()).await?;
        let verdict = step.verdict(&reply)?;
        if let TermsVerdict::Done(terms) = &verdict {
            self.store.learn(team, terms, None, reply.outcome);
        }
        Ok(verdict)
    }

    /// Switches overages on or off.
    pub(crate) async fn set_overages(
        &self,
        team: &Id,
        enabled: bool,
        cap_blocks: Option<u32>,
        caller: &str,
    ) -> Result<Terms, GateError> {
        self.change_terms(team, &Change::Overages { enabled, cap_blocks }, caller).await
    }

    async fn change_terms(&self, team: &Id, change: &Change, caller: &str) -> Result<Terms, GateError> {
        let mut attempts = Attempts::default();
        let mut terms = self.store.read_terms(team).await?;
        loop {
            let catalogue = self.store.fresh_catalogue().await?;
            let now_ms = self.store.now_ms();
            let changed = change.applied_to(&terms, now_ms)?;
            if changed == terms {
                return Ok(terms);
            }
            let snapshot = TeamSnapshot { terms, account: None, changes: 0 };
            let assumptions = assumptions(&snapshot, &catalogue, now_ms);
            let mut step = TermsChange::replace(team, &assumptions, change, &changed, caller);
            let reply = self.store.transact(step.transaction.take()).await?;
            match step.verdict(&reply)? {
                TermsVerdict::Done(done) => {
                    self.store.learn(team, &done, step.account(&reply)?, reply.outcome);
                    // Leases that other sidecars hold were granted under the old terms.
                    self.leases.wait_for_leases(team, &step.open_leases(&reply)).await?;
                    return Ok(done);
                }
                TermsVerdict::Stale(fresh) => {
                    attempts.stale(self.store.metrics())?;
                    terms = self.store.team_exists(team, fresh)?;
                }
            }
        }
    }
}
