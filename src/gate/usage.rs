//! What a team has used in a cycle.

use super::{
    Gate, GateError,
    calls::{Page, Paged, UsageAnswer},
};
use crate::domain::{
    account::Account,
    catalogue::VersionedCatalogue,
    id::Id,
    listing::{AccountQuery, UsageCountsQuery},
    terms::Terms,
    trim::{CyclesQuery, UsageRowsQuery},
    usage::UsageKey,
};

impl Gate {
    /// A team's balance in the cycle at a time, in Unix milliseconds, or now; and a page of its usage rows.
    ///
    /// # Errors
    /// [`GateError::TeamNotFound`], a time in the future or before there was the team, an invalid page token, and the
    /// store's.
    pub async fn usage(&self, team: &Id, at_ms: Option<i64>, page: &Page) -> Result<UsageAnswer, GateError> {
        if !page.token.is_empty() {
            UsageKey::from_member(&page.token).map_err(|_| GateError::foreign_page_token())?;
        }
        let catalogue = self.catalogue.fresh(&self.store).await?;
        let terms = self.read_terms(team).await?;
        let account = match at_ms {
            Some(at_ms) => self.account_at(team, at_ms, &terms, &catalogue).await?,
            None => self.read_current_account(team, &terms, &catalogue).await?,
        };
        let start_ms = account.cycle.start_ms;
        let mut query = UsageRowsQuery::new(team, start_ms, &page.token, page.size);
        let reply = self.transact(query.transaction.take()).await?;
        let keys = query.rows(&reply)?;
        let full = keys.len() >= usize::try_from(page.size).unwrap_or(usize::MAX);
        let next = keys.last().filter(|_| full).map(UsageKey::member);
        let mut query = UsageCountsQuery::new(team, start_ms, &keys);
        let reply = self.transact(query.transaction.take()).await?;
        let counts = query.counts(&reply)?;
        let items = keys.into_iter().zip(counts).filter_map(|(key, counts)| Some((key, counts?))).collect();
        let balance = self.balance(&catalogue, &terms, account);
        Ok(UsageAnswer { balance, rows: Paged { items, next } })
    }

    /// The account of the current cycle; one that was never written to is as it would begin.
    pub(super) async fn read_current_account(
        &self,
        team: &Id,
        terms: &Terms,
        catalogue: &VersionedCatalogue,
    ) -> Result<Account, GateError> {
        let cycle = terms.anchor.cycle_at(self.store_time.now_ms());
        let mut query = AccountQuery::new(team, cycle.start_ms);
        let reply = self.transact(query.transaction.take()).await?;
        let included = terms.included(&catalogue.catalogue.included_credits);
        Ok(query.account(&reply)?.unwrap_or_else(|| Account::new(cycle, included, terms)))
    }

    /// The account of the cycle at a time. The records tell it, for the anchor may have been another then.
    async fn account_at(
        &self,
        team: &Id,
        at_ms: i64,
        terms: &Terms,
        catalogue: &VersionedCatalogue,
    ) -> Result<Account, GateError> {
        let current = terms.anchor.cycle_at(self.store_time.now_ms());
        if at_ms >= current.end_ms {
            return Err(GateError::invalid("cycle_start", "must not be after the current cycle"));
        }
        if current.contains(at_ms) {
            return self.read_current_account(team, terms, catalogue).await;
        }
        if let Some(recorded) = self.recorded_account(team, at_ms).await? {
            return Ok(recorded);
        }
        let cycle = terms.anchor.cycle_at(at_ms);
        if cycle.end_ms <= terms.created_at_ms {
            return Err(GateError::invalid("cycle_start", "must not be before the cycle in which the team was made"));
        }
        let included = terms.included(&catalogue.catalogue.included_credits);
        Ok(Account::new(cycle, included, terms))
    }

    /// The account of the cycle at a time, in Unix milliseconds; `None` if nothing was written to it.
    pub(super) async fn recorded_account(&self, team: &Id, at_ms: i64) -> Result<Option<Account>, GateError> {
        let starts_ms = self.cycle_starts_ms(team).await?;
        let Some(start_ms) = starts_ms.into_iter().rfind(|start_ms| *start_ms <= at_ms) else { return Ok(None) };
        let mut query = AccountQuery::new(team, start_ms);
        let reply = self.transact(query.transaction.take()).await?;
        Ok(query.account(&reply)?.filter(|account| account.cycle.contains(at_ms)))
    }

    /// The starts of the cycles that a team has records of, oldest first, in Unix milliseconds.
    pub(super) async fn cycle_starts_ms(&self, team: &Id) -> Result<Vec<i64>, GateError> {
        let mut query = CyclesQuery::new(team);
        let reply = self.transact(query.transaction.take()).await?;
        Ok(query.cycle_starts_ms(&reply))
    }
}
