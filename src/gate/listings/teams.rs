//! Teams and their terms.

use super::Listings;
use crate::{
    domain::{id::Id, terms::Terms},
    gate::{
        calls::{Page, Paged},
        error::GateError,
    },
};

impl Listings {
    /// Returns a team's terms.
    pub(crate) async fn team(&self, team: &Id) -> Result<Terms, GateError> {
        self.store.read_terms(team).await
    }

    /// Returns a page of all teams, by id.
    pub(crate) async fn teams(&self, page: &Page) -> Result<Paged<(Id, Terms)>, GateError> {
        let (ids, next) = self.store.team_ids(&page.token, page.size).await?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            match self.store.read_terms(&id).await {
                Ok(terms) => items.push((id, terms)),
                Err(GateError::TeamNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Paged { items, next })
    }
}
