//! The usage of a team in a cycle.

use super::Listings;
use crate::{
    domain::{
        account::Account, catalogue::VersionedCatalogue, id::Id, listing::UsageCountsQuery, terms::Terms,
        trim::UsageRowsQuery, usage::UsageKey,
    },
    gate::{
        calls::{Page, Paged, UsageAnswer},
        error::GateError,
    },
};

impl Listings {
    /// Returns a team's balance in the cycle that contains a time, in Unix milliseconds, or in the current one, and a
    /// page of its usage rows.
    pub(crate) async fn usage(&self, team: &Id, at_ms: Option<i64>, page: &Page) -> Result<UsageAnswer, GateError> {
        if !page.token.is_empty() {
            UsageKey::from_member(&page.token).map_err(|_| GateError::foreign_page_token())?;
        }
        let catalogue = self.store.fresh_catalogue().await?;
        let terms = self.store.read_terms(team).await?;
        let account = match at_ms {
            Some(at_ms) => self.account_at(team, at_ms, &terms, &catalogue).await?,
            None => self.store.read_current_account(team, &terms, &catalogue).await?,
        };
        let start_ms = account.cycle.start_ms;
        let mut query = UsageRowsQuery::new(team, start_ms, &page.token, page.size);
        let reply = self.store.transact(query.transaction.take()).await?;
        let keys = query.rows(&reply)?;
        let full = keys.len() >= usize::try_from(page.size).unwrap_or(usize::MAX);
        let next = keys.last().filter(|_| full).map(UsageKey::member);
        let mut query = UsageCountsQuery::new(team, start_ms, &keys);
        let reply = self.store.transact(query.transaction.take()).await?;
        let counts = query.counts(&reply)?;
        let items = keys.into_iter().zip(counts).filter_map(|(key, counts)| Some((key, counts?))).collect();
        let balance = self.store.balance(&catalogue, &terms, account);
        Ok(UsageAnswer { balance, rows: Paged { items, next } })
    }

    /// Reads the account of the cycle that contains a time. Its record says which cycle that is, because the team's
    /// anchor day may have been another one then.
    async fn account_at(
        &self,
        team: &Id,
        at_ms: i64,
        terms: &Terms,
        catalogue: &VersionedCatalogue,
    ) -> Result<Account, GateError> {
        let current = terms.anchor.cycle_at(self.store.now_ms());
        if at_ms >= current.end_ms {
            return Err(GateError::invalid("cycle_start", "must not be after the current cycle"));
        }
        if current.contains(at_ms) {
            return self.store.read_current_account(team, terms, catalogue).await;
        }
        if let Some(recorded) = self.store.recorded_account(team, at_ms).await? {
            return Ok(recorded);
        }
        let cycle = terms.anchor.cycle_at(at_ms);
        if cycle.end_ms <= terms.created_at_ms {
            return Err(GateError::invalid(
                "cycle_start",
                "must not be before the cycle in which the team was created",
            ));
        }
        let included = terms.included(&catalogue.catalogue.included_credits);
        Ok(Account::new(cycle, included, terms))
    }
}
