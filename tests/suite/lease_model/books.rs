//! The records of the store, and what must be true of them in every state.

use tollgate::{
    domain::{
        OVERAGE_BLOCK_CREDITS,
        account::Account,
        charge::ChargeEntry,
        hold::Hold,
        keys,
        reservation::{Reservation, State},
        terms::Terms,
    },
    transaction::{FieldMap, Read, Record, RecordRef, Reply, Transaction},
};

use super::request::{Recorded, cycle, lease_id, reservation_id, team};

/// Maximum number of leases, and of reservations.
pub(super) const MAX_NUMBER: u8 = 3;

/// The content of the records.
#[derive(Debug)]
pub(super) struct Books {
    /// The account of each cycle.
    pub(super) accounts: [Option<Account>; 2],
    pub(super) leases: Vec<Option<LeaseRecord>>,
    pub(super) reservations: Vec<Option<Reservation>>,
    holds: Vec<Hold>,
    /// When each lease can no longer be drawn from.
    open_until_ms: Vec<i64>,
    /// The overage blocks bought in each cycle.
    charges: [Vec<ChargeEntry>; 2],
    terms: Terms,
}

/// The record of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    pub(super) cycle: u8,
    pub(super) credits: i64,
    pub(super) rest: i64,
    pub(super) reclaim_at_ms: i64,
    pub(super) reclaimed: bool,
}

/// References to the records in a reply.
pub(super) struct RecordRefs {
    accounts: [RecordRef; 2],
    charges: [RecordRef; 2],
    open_leases: RecordRef,
    holds: RecordRef,
    leases: Vec<RecordRef>,
    reservations: Vec<RecordRef>,
}

/// Builds the query for every record that can affect what the store does next.
pub(super) fn query_records(terms: &Terms) -> (Transaction, RecordRefs) {
    let mut query = Transaction::on(keys::team(&team()));
    let starts_ms = [cycle(terms, 0).start_ms, cycle(terms, 1).start_ms];
    let first = || Read::First { limit: 100, unless_applied: false };
    let entries = || Read::EntriesAfter { cursor: String::new(), limit: 100 };
    query.record(keys::terms(), Read::Whole);
    let refs = RecordRefs {
        open_leases: query.record(keys::open_leases(), first()),
        accounts: starts_ms.map(|start_ms| query.record(keys::account(start_ms), Read::Whole)),
        charges: starts_ms.map(|start_ms| query.record(keys::charges(start_ms), entries())),
        holds: query.record(keys::open_holds(), first()),
        leases: (0..MAX_NUMBER).map(|lease| query.record(keys::lease(&lease_id(lease)), Read::Whole)).collect(),
        reservations: (0..MAX_NUMBER)
            .map(|id| query.record(keys::reservation(&reservation_id(id)), Read::Whole))
            .collect(),
    };
    (query, refs)
}

impl Books {
    pub(super) fn read(reply: &Reply, refs: &RecordRefs, terms: &Terms) -> Self {
        let index = |place| match reply.record(place) {
            Record::Index(entries) => entries.as_slice(),
            _ => &[],
        };
        let reservation = |place: &RecordRef| reply.packed(*place).map(|record| Reservation::unpack(record).unwrap());
        let lease = |place: &RecordRef| reply.hash(*place).map(|fields| LeaseRecord::read(fields, terms));
        let charges = |place| match reply.record(place) {
            Record::Log(entries) => {
                entries.iter().map(|entry| ChargeEntry::from_fields(&entry.fields).unwrap()).collect()
            }
            _ => Vec::new(),
        };
        Self {
            accounts: refs.accounts.map(|place| reply.hash(place).map(|fields| Account::from_fields(fields).unwrap())),
            leases: refs.leases.iter().map(lease).collect(),
            reservations: refs.reservations.iter().map(reservation).collect(),
            holds: index(refs.holds).iter().map(|(at, member)| Hold::from_entry(*at, member).unwrap()).collect(),
            open_until_ms: index(refs.open_leases).iter().map(|(until_ms, _)| *until_ms).collect(),
            charges: refs.charges.map(charges),
            terms: terms.clone(),
        }
    }

    /// Returns a counter of a cycle's account. 0 if there is no account.
    pub(super) fn counted(&self, cycle: u8, counter: fn(&Account) -> i64) -> i64 {
        self.accounts[usize::from(cycle)].as_ref().map_or(0, counter)
    }

    /// Returns whether a lease may be drawn from at a time.
    pub(super) fn has_open_lease(&self, now_ms: i64) -> bool {
        self.open_until_ms.iter().any(|until_ms| now_ms < *until_ms)
    }

    /// Returns a reservation's record, if it has one in this state.
    pub(super) fn recorded(&self, reservation: u8, state: &State) -> Option<Recorded> {
        let found = self.reservations[usize::from(reservation)].as_ref().filter(|found| found.state == *state)?;
        Some(Recorded::of(reservation, found, &self.terms))
    }

    /// Returns what is wrong in these books.
    pub(super) fn fault(&self) -> Option<String> {
        let fault = [0, 1].into_iter().find_map(|cycle| self.fault_of_cycle(cycle));
        fault.or_else(|| {
            let mut due: Vec<i64> = self.live().map(|lease| lease.reclaim_at_ms).collect();
            due.extend(self.open().map(|reservation| reservation.expires_at_ms));
            due.sort_unstable();
            let found: Vec<i64> = self.holds.iter().map(|hold| hold.expires_at_ms).collect();
            let wrong = "I5: the index of open holds differs from what is leased and held";
            (due != found).then(|| format!("{wrong}: {:?}, {:?}", self.accounts, self.leases))
        })
    }

    /// Checks I1 and I4, and that a record accounts for every credit that is leased or held in a cycle.
    fn fault_of_cycle(&self, cycle: u8) -> Option<String> {
        let live = || self.live().filter(|lease| lease.cycle == cycle);
        let leases_rest: i64 = live().map(|lease| lease.rest).sum();
        let Some(account) = &self.accounts[usize::from(cycle)] else {
            return (leases_rest != 0).then(|| "a lease is of a cycle that has no account".to_owned());
        };
        let Account { used, held, leased, above_hold, waived, included, blocks, .. } = *account;
        let wrong = |what: &str| Some(format!("{what}: {account:?}, {:?}", self.leases));
        if Some(included) != self.terms.included_override || waived != 0 {
            return wrong("what was promised did not fit the allotment");
        }
        let cap_blocks = self.terms.overage_cap_blocks.map_or(0, i64::from);
        if used > account.allotment() || used + held + leased > included + cap_blocks * OVERAGE_BLOCK_CREDITS {
            return wrong("I1: more than the allotment is used, held and leased");
        }
        if [used, held, leased, above_hold].iter().any(|counter| *counter < 0) {
            return wrong("a counter is negative");
        }
        if self.leases.iter().flatten().any(|lease| lease.rest < 0) || leased != leases_rest {
            return wrong("what is leased is not what leases have");
        }
        let open = self.open().filter(|reservation| reservation.terms.cycle == account.cycle);
        if held != open.map(|reservation| reservation.terms.credits).sum::<i64>() {
            return wrong("what is held is not what open reservations have");
        }
        let mut bought = 0;
        for charge in &self.charges[usize::from(cycle)] {
            if i64::from(charge.first_block) != bought + 1 {
                return wrong("I4: a block's number is given twice, or none is");
            }
            bought += i64::from(charge.blocks);
        }
        let is_needed = blocks == 0 || used > account.allotment() - OVERAGE_BLOCK_CREDITS;
        if blocks != bought || !is_needed { wrong("I4: what was bought is not what it takes") } else { None }
    }

    fn live(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.leases.iter().flatten().filter(|lease| !lease.reclaimed)
    }

    fn open(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.iter().flatten().filter(|reservation| reservation.state == State::Open)
    }
}

impl LeaseRecord {
    fn read(fields: &FieldMap, terms: &Terms) -> Self {
        let number = |field| fields.number(field).unwrap();
        Self {
            cycle: u8::from(number("cycle") != cycle(terms, 0).start_ms),
            credits: number("credits"),
            rest: number("rest"),
            reclaim_at_ms: number("reclaim_at"),
            reclaimed: number("reclaimed") == 1,
        }
    }
}
