//! What the store's records say, and what has to be so of them in every state.

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

/// So many leases there are at most, and so many reservations.
pub(super) const MOST: u8 = 3;

/// What the records say.
#[derive(Debug)]
pub(super) struct Books {
    /// Of each cycle.
    pub(super) accounts: [Option<Account>; 2],
    pub(super) leases: Vec<Option<LeaseRecord>>,
    pub(super) reservations: Vec<Option<Reservation>>,
    holds: Vec<Hold>,
    /// When leases may be drawn from no more.
    open_until_ms: Vec<i64>,
    /// What was bought in each cycle.
    charges: [Vec<ChargeEntry>; 2],
    terms: Terms,
}

/// What the record of a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    pub(super) cycle: u8,
    pub(super) credits: i64,
    pub(super) rest: i64,
    pub(super) reclaim_at_ms: i64,
    pub(super) reclaimed: bool,
}

/// Where in a reply the records are.
pub(super) struct Places {
    accounts: [RecordRef; 2],
    charges: [RecordRef; 2],
    open_leases: RecordRef,
    holds: RecordRef,
    leases: Vec<RecordRef>,
    reservations: Vec<RecordRef>,
}

/// Reads every record that may matter to what the store does next.
pub(super) fn look(terms: &Terms) -> (Transaction, Places) {
    let mut query = Transaction::on(keys::team(&team()));
    let starts_ms = [cycle(terms, 0).start_ms, cycle(terms, 1).start_ms];
    let first = || Read::First { limit: 100, unless_applied: false };
    let entries = || Read::EntriesAfter { cursor: String::new(), limit: 100 };
    query.record(keys::terms(), Read::Whole);
    let places = Places {
        open_leases: query.record(keys::open_leases(), first()),
        accounts: starts_ms.map(|start_ms| query.record(keys::account(start_ms), Read::Whole)),
        charges: starts_ms.map(|start_ms| query.record(keys::charges(start_ms), entries())),
        holds: query.record(keys::open_holds(), first()),
        leases: (0..MOST).map(|lease| query.record(keys::lease(&lease_id(lease)), Read::Whole)).collect(),
        reservations: (0..MOST).map(|id| query.record(keys::reservation(&reservation_id(id)), Read::Whole)).collect(),
    };
    (query, places)
}

impl Books {
    pub(super) fn read(reply: &Reply, places: &Places, terms: &Terms) -> Self {
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
            accounts: places
                .accounts
                .map(|place| reply.hash(place).map(|fields| Account::from_fields(fields).unwrap())),
            leases: places.leases.iter().map(lease).collect(),
            reservations: places.reservations.iter().map(reservation).collect(),
            holds: index(places.holds).iter().map(|(at, member)| Hold::from_entry(*at, member).unwrap()).collect(),
            open_until_ms: index(places.open_leases).iter().map(|(until_ms, _)| *until_ms).collect(),
            charges: places.charges.map(charges),
            terms: terms.clone(),
        }
    }

    /// A counter of a cycle's account; 0 while there is none.
    pub(super) fn counted(&self, cycle: u8, counter: fn(&Account) -> i64) -> i64 {
        self.accounts[usize::from(cycle)].as_ref().map_or(0, counter)
    }

    /// Whether a lease may be drawn from at a time.
    pub(super) fn has_open_lease(&self, now_ms: i64) -> bool {
        self.open_until_ms.iter().any(|until_ms| now_ms < *until_ms)
    }

    /// What a reservation's record says, if it has one, and is in that state.
    pub(super) fn recorded(&self, reservation: u8, state: &State) -> Option<Recorded> {
        let found = self.reservations[usize::from(reservation)].as_ref().filter(|found| found.state == *state)?;
        Some(Recorded::of(reservation, found, &self.terms))
    }

    /// What is wrong in these books, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        let fault = [0, 1].into_iter().find_map(|cycle| self.fault_of_cycle(cycle));
        fault.or_else(|| {
            let mut due: Vec<i64> = self.live().map(|lease| lease.reclaim_at_ms).collect();
            due.extend(self.open().map(|reservation| reservation.expires_at_ms));
            due.sort_unstable();
            let found: Vec<i64> = self.holds.iter().map(|hold| hold.expires_at_ms).collect();
            let wrong = "I5: what comes back by itself is not what is leased and held";
            (due != found).then(|| format!("{wrong}: {:?}, {:?}", self.accounts, self.leases))
        })
    }

    /// I1 and I4, and that every credit which is leased or held in a cycle is known by a record.
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
