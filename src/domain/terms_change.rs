//! PutTeam and SetOverages: changes of terms. They apply to the current cycle at once and never bill (rules 5 and 8).

use thiserror::Error;

use super::{
    Damaged, OVERAGE_BLOCK_CREDITS,
    account::{Account, time_within},
    assumptions::{Assumptions, declare_account},
    audit,
    billing_cycle::Anchor,
    catalogue::Catalogue,
    id::Id,
    keys,
    lease::{OpenLeases, declare_open_leases, no_leases_until},
    plan::Plan,
    terms::{NO_LEASES_UNTIL, Terms},
};
use crate::transaction::{Guard, Linear, Outcome, Read, RecordRef, Reply, Transaction, Value, Write};

/// The settings of a team as PutTeam gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamSettings {
    /// The plan.
    pub plan: Plan,
    /// Whether a seat is paid for.
    pub paid_seat: bool,
    /// Day of the month on which cycles begin, from 1 to 31.
    pub anchor_day: u8,
    /// Included credits that replace the plan's.
    pub included_override: Option<i64>,
}

/// A change of terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// PutTeam.
    Settings(TeamSettings),
    /// SetOverages.
    Overages {
        /// Whether overages are on.
        enabled: bool,
        /// Maximum number of overage blocks per cycle. `None` means no cap.
        cap_blocks: Option<u32>,
    },
}

/// Overages were switched on for a team that cannot have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("overages need the professional plan with a paid seat")]
pub struct OveragesUnavailable;

impl Change {
    /// Returns the terms after this change at a time in Unix milliseconds. Version and times are still those of
    /// `terms`.
    pub fn applied_to(&self, terms: &Terms, now_ms: i64) -> Result<Terms, OveragesUnavailable> {
        let mut changed = terms.clone();
        match self {
            Self::Settings(settings) => {
                changed.plan = settings.plan;
                changed.paid_seat = settings.paid_seat;
                changed.included_override = settings.included_override;
                changed.anchor = terms.anchor.changed(settings.anchor_day, now_ms);
                if !changed.may_have_overages() {
                    changed.overages_enabled = false;
                    changed.overage_cap_blocks = None;
                }
            }
            Self::Overages { enabled, cap_blocks } => {
                if !terms.may_have_overages() {
                    // Overages cannot be on, so switching them off changes nothing.
                    return if *enabled { Err(OveragesUnavailable) } else { Ok(changed) };
                }
                changed.overages_enabled = *enabled;
                changed.overage_cap_blocks = *cap_blocks;
            }
        }
        Ok(changed)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Settings(_) => "team",
            Self::Overages { .. } => "overages",
        }
    }
}

impl TeamSettings {
    /// Returns the terms of a team that is created with these settings.
    pub fn first_terms(&self) -> Terms {
        Terms {
            version: 0,
            plan: self.plan,
            paid_seat: self.paid_seat,
            anchor: Anchor::new(self.anchor_day),
            included_override: self.included_override,
            overages_enabled: false,
            overage_cap_blocks: None,
            created_at_ms: 0,
            updated_at_ms: 0,
            no_leases_until_ms: 0,
        }
    }
}

/// One change of terms: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct TermsChange {
    /// The transaction to send.
    pub transaction: Transaction,
    terms: RecordRef,
    account: Option<RecordRef>,
    open_leases: Option<RecordRef>,
}

/// The outcome of a change of terms.
#[derive(Debug)]
pub enum TermsVerdict {
    /// The change was made. These are the terms now.
    Done(Terms),
    /// The team's terms are these (`None`: the team does not exist). Decide again with them.
    Stale(Option<Terms>),
}

impl TermsChange {
    /// Builds the transaction that creates a team.
    pub fn create(team: &Id, first: &Terms, caller: &str) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let record = transaction.record(keys::terms(), Read::Whole);
        transaction.require(Guard::Absent(record));
        let mut writes = terms_writes(record, &Terms { version: 1, ..first.clone() });
        writes.push(Write::Set(record, "created_at", Value::now()));
        writes.push(Write::Set(record, NO_LEASES_UNTIL, 0.into()));
        writes.push(audited(&mut transaction, caller, "team", None, first));
        transaction.option(Vec::new(), writes);
        Self { transaction, terms: record, account: None, open_leases: None }
    }

    /// Builds the transaction that replaces the terms that are assumed to be in force.
    pub fn replace(team: &Id, assumptions: &Assumptions<'_>, change: &Change, changed: &Terms, caller: &str) -> Self {
        let before = assumptions.terms;
        let mut transaction = Transaction::on(keys::team(team));
        let record = transaction.record(keys::terms(), Read::Whole);
        let account = declare_account(&mut transaction, assumptions);
        transaction.require(Guard::FieldEquals(record, "version", before.version.to_string()));
        for guard in time_within(before.anchor.cycle_at(assumptions.now_ms)) {
            transaction.require(guard);
        }
        let mut writes = account.first_writes;
        writes.extend(terms_writes(record, &Terms { version: before.version + 1, ..changed.clone() }));
        writes.extend(account_writes(account.record, before, changed, assumptions.catalogue));
        writes.push(audited(&mut transaction, caller, change.name(), Some(before), changed));
        // Sidecars hold leases that were granted under the old terms, so these are recalled.
        let open_leases = declare_open_leases(&mut transaction, false);
        transaction.option(vec![Guard::NothingAhead(open_leases)], writes.clone());
        writes.push(Write::Set(record, NO_LEASES_UNTIL, no_leases_until(record)));
        transaction.option(Vec::new(), writes);
        Self { transaction, terms: record, account: Some(account.record), open_leases: Some(open_leases) }
    }

    /// Builds a transaction that only reads the terms. Its outcome is always [`TermsVerdict::Stale`].
    pub fn read(team: &Id) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        Self { transaction, terms, account: None, open_leases: None }
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Reads the outcome from the reply.
    pub fn verdict(&self, reply: &Reply) -> Result<TermsVerdict, Damaged> {
        Ok(match (reply.outcome, self.terms(reply)?) {
            (Outcome::Applied { .. }, Some(terms)) => TermsVerdict::Done(terms),
            (_, terms) => TermsVerdict::Stale(terms),
        })
    }

    /// Returns the leases in a reply that were granted under the old terms and may still be drawn from.
    pub fn open_leases(&self, reply: &Reply) -> OpenLeases {
        self.open_leases.map(|index| OpenLeases::read(reply, index)).unwrap_or_default()
    }

    /// Returns the current cycle's account in a reply.
    pub fn account(&self, reply: &Reply) -> Result<Option<Account>, Damaged> {
        self.account.and_then(|account| reply.hash(account)).map(Account::from_fields).transpose()
    }
}

/// Builds the transaction that adds a team to the list of all teams.
pub fn register(team: &Id) -> Transaction {
    let mut transaction = Transaction::on(keys::registry_scope());
    let registry = transaction.record(keys::registry(), Read::Nothing);
    transaction.option(Vec::new(), vec![Write::IndexPut(registry, team.to_string(), 0.into())]);
    transaction
}

fn terms_writes(record: RecordRef, terms: &Terms) -> Vec<Write> {
    let mut writes: Vec<Write> =
        terms.fields().into_iter().map(|(field, value)| Write::Set(record, field, value)).collect();
    writes.push(Write::Set(record, "updated_at", Value::now()));
    writes
}

/// Returns the writes that apply the new terms to the current cycle.
///
/// If the included credits rise, the waived credits fall by the same amount, at most to 0. Then as much is waived as
/// keeps *used* within the allotment.
fn account_writes(account: RecordRef, before: &Terms, after: &Terms, catalogue: &Catalogue) -> Vec<Write> {
    let plans = &catalogue.included_credits;
    let included = after.included(plans);
    let risen = (included - before.included(plans)).max(0);
    let waived = Value::Greatest(vec![
        Linear::constant(0),
        Linear::constant(-risen).plus(1, account, "waived"),
        Linear::constant(-included).plus(1, account, "used").plus(-OVERAGE_BLOCK_CREDITS, account, "blocks"),
    ]);
    vec![
        Write::Set(account, "waived", waived),
        Write::Set(account, "included", included.into()),
        Write::Set(account, "overages_enabled", i64::from(after.overages_enabled).into()),
        Write::Set(account, "cap_blocks", after.stored_cap_blocks().into()),
    ]
}

fn audited(
    transaction: &mut Transaction,
    caller: &str,
    change: &'static str,
    before: Option<&Terms>,
    after: &Terms,
) -> Write {
    let log = transaction.record(keys::audit(), Read::Nothing);
    audit::append(log, caller, change, before.map_or(String::new(), described), described(after))
}

fn described(terms: &Terms) -> String {
    let included = terms.included_override.map_or("plan".to_owned(), |credits| credits.to_string());
    let overages = match (terms.overages_enabled, terms.overage_cap_blocks) {
        (false, _) => "off".to_owned(),
        (true, None) => "on".to_owned(),
        (true, Some(blocks)) => format!("on, at most {blocks} blocks"),
    };
    format!(
        "plan={} paid_seat={} billing_anchor_day={} included_credits={included} overages={overages}",
        terms.plan.name(),
        terms.paid_seat,
        terms.anchor.day,
    )
}
