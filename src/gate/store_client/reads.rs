//! Reads of single records: accounts, cycles, reservations, and the list of teams.

use super::StoreClient;
use crate::{
    domain::{
        account::Account,
        catalogue::VersionedCatalogue,
        expire::ReservationsQuery,
        id::Id,
        listing::{AccountQuery, TeamsQuery},
        reservation::Reservation,
        terms::Terms,
        trim::CyclesQuery,
    },
    gate::error::GateError,
    transaction::Reply,
};

impl StoreClient {
    /// Reads the account of the current cycle. An account that was never written to has its initial content.
    pub(crate) async fn read_current_account(
        &self,
        team: &Id,
        terms: &Terms,
        catalogue: &VersionedCatalogue,
    ) -> Result<Account, GateError> {
        let cycle = terms.anchor.cycle_at(self.now_ms());
        let mut query = AccountQuery::new(team, cycle.start_ms);
        let reply = self.transact(query.transaction.take()).await?;
        let included = terms.included(&catalogue.catalogue.included_credits);
        Ok(query.account(&reply)?.unwrap_or_else(|| Account::new(cycle, included, terms)))
    }

    /// Reads the account of the cycle that contains a time, in Unix milliseconds. Returns `None` if nothing was written
    /// to it.
    pub(crate) async fn recorded_account(&self, team: &Id, at_ms: i64) -> Result<Option<Account>, GateError> {
        let starts_ms = self.cycle_starts_ms(team).await?;
        let Some(start_ms) = starts_ms.into_iter().rfind(|start_ms| *start_ms <= at_ms) else {
            return Ok(None);
        };
        let mut query = AccountQuery::new(team, start_ms);
        let reply = self.transact(query.transaction.take()).await?;
        Ok(query.account(&reply)?.filter(|account| account.cycle.contains(at_ms)))
    }

    /// Reads the starts of the cycles that a team has records of, oldest first, in Unix milliseconds.
    pub(crate) async fn cycle_starts_ms(&self, team: &Id) -> Result<Vec<i64>, GateError> {
        let mut query = CyclesQuery::new(team);
        let reply = self.transact(query.transaction.take()).await?;
        Ok(query.cycle_starts_ms(&reply))
    }

    /// Reads a page of the list of all teams that follow `after`, and the token of the next page.
    ///
    /// # Errors
    /// [`GateError::InvalidField`] if `after` is neither empty nor an id, and the store's.
    pub(crate) async fn team_ids(&self, after: &str, limit: u32) -> Result<(Vec<Id>, Option<String>), GateError> {
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

    /// Reads the record of a reservation, if it has one within its retention. Returns the reply as well.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], and the store's.
    pub(crate) async fn read_reservation(&self, team: &Id, id: &Id) -> Result<(Option<Reservation>, Reply), GateError> {
        let mut query = ReservationsQuery::new(team, [id]);
        let reply = self.transact(query.transaction.take()).await?;
        self.team_exists(team, query.team_exists(&reply).then_some(()))?;
        let found = query.reservations(&reply)?.pop().flatten();
        let kept = found.filter(|reservation| !reservation.is_forgotten(reply.now_ms, self.policy()));
        Ok((kept, reply))
    }
}
