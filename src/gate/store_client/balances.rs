//! Accounts and balances as replies and the cache show them.

use super::StoreClient;
use crate::{
    cache::TeamSnapshot,
    domain::{account::Account, assumptions::Assumptions, catalogue::VersionedCatalogue, terms::Terms},
    gate::calls::Balance,
    transaction::Reply,
};

impl StoreClient {
    /// Returns the account of the current cycle that a reply has shown. An account that was never written to has its
    /// initial content.
    pub(crate) fn current_account(
        &self,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        account: Option<Account>,
        reply: &Reply,
    ) -> Account {
        account.unwrap_or_else(|| {
            let included = terms.included(&catalogue.catalogue.included_credits);
            Account::new(terms.anchor.cycle_at(reply.now_ms), included, terms)
        })
    }

    /// Returns the balance of the current cycle that a reply has shown.
    pub(crate) fn current_balance(
        &self,
        catalogue: &VersionedCatalogue,
        terms: &Terms,
        account: Option<Account>,
        reply: &Reply,
    ) -> Balance {
        let account = self.current_account(catalogue, terms, account, reply);
        self.balance(catalogue, terms, account)
    }

    /// Returns the balance of an account.
    pub(crate) fn balance(&self, catalogue: &VersionedCatalogue, terms: &Terms, account: Account) -> Balance {
        balance_at(self.now_ms(), catalogue, terms, account)
    }
}

/// Returns the balance of an account at a time of the store, in Unix milliseconds.
pub(crate) fn balance_at(now_ms: i64, catalogue: &VersionedCatalogue, terms: &Terms, account: Account) -> Balance {
    let announced = catalogue.catalogue.announced_at(now_ms);
    Balance {
        plan: terms.plan,
        account,
        overages_enabled: terms.overages_enabled,
        next_rate_card: announced.map(|card| card.version.clone()),
    }
}

/// Returns what a transaction on the current cycle is built from, at a time of the store, in Unix milliseconds.
pub(crate) fn assumptions<'a>(
    snapshot: &'a TeamSnapshot,
    catalogue: &'a VersionedCatalogue,
    now_ms: i64,
) -> Assumptions<'a> {
    let cycle = snapshot.terms.anchor.cycle_at(now_ms);
    let account = snapshot.account.as_ref().filter(|account| account.cycle == cycle);
    Assumptions {
        terms: &snapshot.terms,
        catalogue: &catalogue.catalogue,
        account_exists: account.is_some(),
        remaining: account.map(Account::remaining),
        recall_leases_first: true,
        now_ms,
    }
}
