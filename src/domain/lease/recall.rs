//! Recalling leases before a call is suspended: sidecars return what they have not drawn, and no lease is granted in
//! the meantime.

use super::{RECALL_PAUSE_MS, grant::MAX_LEASES_READ};
use crate::{
    domain::{
        Damaged,
        id::Id,
        keys,
        terms::{NO_LEASES_UNTIL, Terms},
    },
    transaction::{Guard, Linear, Read, Record, RecordRef, Reply, Transaction, Value, Write},
};

/// Maximum number of recalls that are read at once.
const RECALLS_READ: u32 = 1_000;

/// Time after which an announcement is removed, in milliseconds. Every live sidecar has read it by then.
const ANNOUNCED_MS: i64 = 10_000;

/// The recall of a team's leases: its transaction, and how to read the reply.
#[derive(Debug)]
pub struct Recall {
    /// The transaction to send.
    pub transaction: Transaction,
    terms: RecordRef,
    open_leases: RecordRef,
}

impl Recall {
    /// Builds the transaction that recalls the leases. For [`RECALL_PAUSE_MS`] from now, no lease of the team is
    /// granted.
    pub fn new(team: &Id) -> Self {
        let mut step = Self::read(team);
        let terms = step.terms;
        step.transaction.require(Guard::Present(terms));
        step.transaction.option(Vec::new(), vec![Write::Set(terms, NO_LEASES_UNTIL, no_leases_until(terms))]);
        step
    }

    /// Builds a transaction that only reads which leases may still be drawn from.
    pub fn read(team: &Id) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let terms = transaction.record(keys::terms(), Read::Whole);
        let open_leases = declare_open_leases(&mut transaction, false);
        Self { transaction, terms, open_leases }
    }

    /// Returns the team's terms in a reply. `None` if the team does not exist.
    pub fn terms(&self, reply: &Reply) -> Result<Option<Terms>, Damaged> {
        reply.hash(self.terms).map(Terms::from_fields).transpose()
    }

    /// Returns the leases that may still be drawn from.
    pub fn open_leases(&self, reply: &Reply) -> OpenLeases {
        OpenLeases::read(reply, self.open_leases)
    }
}

/// The leases of a team that may still be drawn from, as a reply contains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenLeases {
    /// Their IDs. Incomplete if there are more than a reply contains.
    pub ids: Vec<String>,
}

impl OpenLeases {
    pub(crate) fn read(reply: &Reply, index: RecordRef) -> Self {
        let ids = match reply.record(index) {
            Record::Index(entries) => {
                let open = entries.iter().filter(|(until_ms, _)| *until_ms > reply.now_ms);
                open.map(|(_, id)| id.clone()).collect()
            }
            _ => Vec::new(),
        };
        Self { ids }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Declares the leases that may still be drawn from, in a transaction that may have to wait for them.
pub(crate) fn declare_open_leases(transaction: &mut Transaction, unless_applied: bool) -> RecordRef {
    transaction.record(keys::open_leases(), Read::First { limit: MAX_LEASES_READ, unless_applied })
}

/// Returns the time until which no lease is granted after a recall.
pub(crate) fn no_leases_until(terms: RecordRef) -> Value {
    Value::Greatest(vec![Linear::default().plus(1, terms, NO_LEASES_UNTIL), Linear::now_plus(RECALL_PAUSE_MS)])
}

/// Builds the transaction that announces to all sidecars that a team's leases are recalled. Sidecars read one list for
/// all teams. It is only a hint: what prevents new leases is in the team's terms.
pub fn announce(team: &Id) -> Transaction {
    let mut transaction = Transaction::on(keys::recalls_scope());
    let recalls = transaction.record(keys::recalls(), Read::Nothing);
    transaction.option(Vec::new(), vec![Write::IndexPut(recalls, team.to_string(), Value::now())]);
    transaction
}

/// Builds the transaction that removes old announcements.
pub fn remove_announcements(teams: &[Id]) -> Transaction {
    let mut transaction = Transaction::on(keys::recalls_scope());
    let recalls = transaction.record(keys::recalls(), Read::Nothing);
    let removed = teams.iter().map(|team| Write::IndexRemove(recalls, team.to_string())).collect();
    transaction.option(Vec::new(), removed);
    transaction
}

/// Query for the teams whose leases are being recalled.
#[derive(Debug)]
pub struct RecallsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    recalls: RecordRef,
}

impl Default for RecallsQuery {
    fn default() -> Self {
        let mut transaction = Transaction::on(keys::recalls_scope());
        let recalls = transaction.record(keys::recalls(), Read::First { limit: RECALLS_READ, unless_applied: false });
        Self { transaction, recalls }
    }
}

impl RecallsQuery {
    /// Returns the teams recalled at or after `since_ms`, in Unix milliseconds of the store, and the teams whose
    /// announcement is old.
    pub fn teams(&self, reply: &Reply, since_ms: i64) -> Result<(Vec<Id>, Vec<Id>), Damaged> {
        let Record::Index(entries) = reply.record(self.recalls) else { return Ok((Vec::new(), Vec::new())) };
        let (mut recalled, mut old) = (Vec::new(), Vec::new());
        for (at_ms, team) in entries {
            let team = Id::parse(team).map_err(|problem| Damaged::new("recalls", problem.to_string()))?;
            if *at_ms + ANNOUNCED_MS < reply.now_ms {
                old.push(team);
            } else if *at_ms >= since_ms {
                recalled.push(team);
            }
        }
        Ok((recalled, old))
    }
}
