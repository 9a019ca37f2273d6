//! Teams and their terms.

use super::{
    Gate, GateError,
    attempts::Attempts,
    calls::{Page, Paged},
    pricing::belief,
};
use crate::{
    cache::TeamSnapshot,
    domain::{
        id::Id,
        listing::TeamsQuery,
        terms::Terms,
        terms_change::{Change, TeamSettings, TermsChange, TermsVerdict, register},
    },
};

impl Gate {
    /// Makes a team, or replaces its plan, seat, anchor day and override; acts at once on the current cycle.
    ///
    /// # Errors
    /// Whatever keeps the gate from a verified answer.
    pub async fn put_team(&self, team: &Id, settings: &TeamSettings, caller: &str) -> Result<Terms, GateError> {
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

    /// Makes a team with these terms, unless there is one: then the verdict is stale, and has that one's terms.
    pub(super) async fn create_team(&self, team: &Id, first: &Terms, caller: &str) -> Result<TermsVerdict, GateError> {
        // The list comes first: a team that is listed and not there is passed over, one that is not listed is lost.
        self.store.transact(register(team)).await?;
        let mut step = TermsChange::create(team, first, caller);
        let reply = self.transact(step.transaction.take()).await?;
        let verdict = step.verdict(&reply)?;
        if let TermsVerdict::Done(terms) = &verdict {
            self.learn(team, terms, None, reply.outcome);
        }
        Ok(verdict)
    }

    /// Switches overages, for professional with a paid seat.
    ///
    /// # Errors
    /// [`GateError::OveragesUnavailable`], and whatever keeps the gate from a verified answer.
    pub async fn set_overages(
        &self,
        team: &Id,
        enabled: bool,
        cap_blocks: Option<u32>,
        caller: &str,
    ) -> Result<Terms, GateError> {
        self.change_terms(team, &Change::Overages { enabled, cap_blocks }, caller).await
    }

    /// A team's terms.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], and the store's.
    pub async fn team(&self, team: &Id) -> Result<Terms, GateError> {
        self.read_terms(team).await
    }

    /// The teams, by id.
    ///
    /// # Errors
    /// An invalid page token, and the store's.
    pub async fn teams(&self, page: &Page) -> Result<Paged<(Id, Terms)>, GateError> {
        let (ids, next) = self.team_ids(&page.token, page.size).await?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            match self.read_terms(&id).await {
                Ok(terms) => items.push((id, terms)),
                Err(GateError::TeamNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Paged { items, next })
    }

    /// A page of the list of all teams, and the token of the next one.
    pub(super) async fn team_ids(&self, after: &str, limit: u32) -> Result<(Vec<Id>, Option<String>), GateError> {
        if !after.is_empty() {
            Id::parse(after).map_err(|_| GateError::foreign_page_token())?;
        }
        let mut query = TeamsQuery::new(after, limit);
        let reply = self.transact(query.transaction.take()).await?;
        let ids = query.ids(&reply)?;
        let full = ids.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = ids.last().filter(|_| full).map(ToString::to_string);
        Ok((ids, next))
    }

    async fn change_terms(&self, team: &Id, change: &Change, caller: &str) -> Result<Terms, GateError> {
        let mut attempts = Attempts::default();
        let mut terms = self.read_terms(team).await?;
        loop {
            let catalogue = self.catalogue.fresh(&self.store).await?;
            let now_ms = self.store_time.now_ms();
            let changed = change.applied_to(&terms, now_ms)?;
            if changed == terms {
                return Ok(terms);
            }
            let believed = TeamSnapshot { terms, account: None, changes: 0 };
            let belief = belief(&believed, &catalogue, now_ms);
            let mut step = TermsChange::replace(team, &belief, change, &changed, caller);
            let reply = self.transact(step.transaction.take()).await?;
            match step.verdict(&reply)? {
                TermsVerdict::Done(done) => {
                    self.learn(team, &done, step.account(&reply)?, reply.outcome);
                    // What others have in hand was priced by the terms of before.
                    self.wait_for_leases(team, &step.open_leases(&reply)).await?;
                    return Ok(done);
                }
                TermsVerdict::Stale(fresh) => {
                    self.stale(&mut attempts)?;
                    terms = self.team_exists(team, fresh)?;
                }
            }
        }
    }
}
