//! Open holds: the index of everything that gives credits back when its time is over. These are a team's open
//! reservations, and the leases that sidecars have taken out of its allotment.
//!
//! This module knows IDs, cycles and credits. It must not know what a reservation or a lease is.

use super::{Damaged, id::Id, keys};
use crate::transaction::{Read, Record, RecordRef, Reply, Transaction, parse_stored_number};

/// Maximum number of open holds that a refusal returns. The due ones are expired, and the others tell when credits come
/// back.
const MAX_HOLDS_READ: u32 = 64;

/// Separator of the parts of an entry's name. No ID contains it.
const SEPARATOR: char = '|';

/// Last part of the name of a lease's entry.
const LEASE_SUFFIX: &str = "lease";

/// An entry of the index of open holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What holds the credits.
    pub holder: Holder,
    /// Start of the cycle that the credits belong to, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// Number of credits that come back to that cycle's allotment. For a lease it is an upper bound.
    pub credits: i64,
    /// When they come back, in Unix milliseconds.
    pub expires_at_ms: i64,
}

/// The holder of credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An open reservation.
    Reservation(Id),
    /// A lease that was not returned yet.
    Lease(Id),
}

impl Hold {
    /// Reads an entry of the index.
    pub fn from_entry(expires_at_ms: i64, member: &str) -> Result<Self, Damaged> {
        let mut fields = member.split(SEPARATOR);
        let mut hold = || {
            let id = Id::parse(fields.next()?).ok()?;
            let cycle_start_ms = parse_stored_number(fields.next()?)?;
            let credits = parse_stored_number(fields.next()?).filter(|credits| *credits >= 0)?;
            let holder = match fields.next() {
                None => Holder::Reservation(id),
                Some(LEASE_SUFFIX) => Holder::Lease(id),
                Some(_) => return None,
            };
            Some(Self { holder, cycle_start_ms, credits, expires_at_ms })
        };
        let read = hold();
        read.filter(|_| fields.next().is_none()).ok_or_else(|| Damaged::new("holds", "not in the expected format"))
    }

    /// Returns whether the hold has run out at a time in Unix milliseconds.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.expires_at_ms <= now_ms
    }

    /// Returns whether this is the hold of that reservation.
    pub fn is_of(&self, id: &Id) -> bool {
        matches!(&self.holder, Holder::Reservation(holder) if holder == id)
    }

    /// Returns the name of the hold's entry in the index.
    pub fn member(&self) -> String {
        match &self.holder {
            Holder::Reservation(id) => reservation_member(id, self.cycle_start_ms, self.credits),
            Holder::Lease(id) => lease_member(id, self.cycle_start_ms, self.credits),
        }
    }
}

/// Query for the open holds of a team that run out first.
#[derive(Debug)]
pub struct HoldsQuery {
    /// The transaction to send.
    pub transaction: Transaction,
    holds: RecordRef,
}

impl HoldsQuery {
    /// Builds the query.
    pub fn new(team: &Id) -> Self {
        let mut transaction = Transaction::on(keys::team(team));
        let first = Read::First { limit: MAX_HOLDS_READ, unless_applied: false };
        let holds = transaction.record(keys::open_holds(), first);
        Self { transaction, holds }
    }

    /// Returns the holds in a reply.
    pub fn holds(&self, reply: &Reply) -> Result<Vec<Hold>, Damaged> {
        read(reply, self.holds)
    }
}

/// Declares the index in a transaction that may be refused because of its entries.
pub(crate) fn declare(transaction: &mut Transaction) -> RecordRef {
    transaction.record(keys::open_holds(), Read::First { limit: MAX_HOLDS_READ, unless_applied: true })
}

/// Returns the holds in a reply, ordered by when they run out.
pub(crate) fn read(reply: &Reply, index: RecordRef) -> Result<Vec<Hold>, Damaged> {
    match reply.record(index) {
        Record::Index(entries) => entries.iter().map(|(at, member)| Hold::from_entry(*at, member)).collect(),
        _ => Ok(Vec::new()),
    }
}

/// Returns the name of a reservation's entry in the index.
///
/// It contains the cycle, and the credits that return to its allotment when the hold runs out. A suspension uses
/// them to say when to try again.
pub(crate) fn reservation_member(id: &Id, cycle_start_ms: i64, credits: i64) -> String {
    format!("{id}{SEPARATOR}{cycle_start_ms}{SEPARATOR}{credits}")
}

/// Returns the name of a lease's entry in the index. It has one part more than a reservation's, so the two never
/// collide.
pub(crate) fn lease_member(id: &Id, cycle_start_ms: i64, credits: i64) -> String {
    format!("{}{SEPARATOR}{LEASE_SUFFIX}", reservation_member(id, cycle_start_ms, credits))
}
