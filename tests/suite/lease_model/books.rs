//! What the store's records say, and what has to be so of them in every state.

use tollgate::{
    domain::{
        account::Account,
        billing_cycle::Anchor,
        hold::Hold,
        keys,
        reservation::{Reservation, State},
    },
    transaction::{Fields, Read, Record, RecordRef, Reply, Transaction},
};

use super::{
    START_MS,
    request::{Recorded, lease_id, reservation_id, team},
};

/// So many leases there are at most, and so many reservations.
pub(super) const MOST: u8 = 3;

/// What the records say.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) account: Option<Account>,
    pub(super) leases: Vec<Option<LeaseRecord>>,
    pub(super) reservations: Vec<Option<Reservation>>,
    holds: Vec<Hold>,
}

/// What the record of a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    pub(super) credits: i64,
    pub(super) rest: i64,
    pub(super) reclaim_at_ms: i64,
    pub(super) reclaimed: bool,
}

/// Where in a reply the records are.
pub(super) struct Places {
    account: RecordRef,
    holds: RecordRef,
    leases: Vec<RecordRef>,
    reservations: Vec<RecordRef>,
}

/// Reads every record that may matter to what the store does next.
pub(super) fn look() -> (Transaction, Places) {
    let mut query = Transaction::on(keys::team(&team()));
    let cycle = Anchor::new(1).cycle_at(START_MS);
    let first = || Read::First { limit: 100, unless_applied: false };
    query.record(keys::terms(), Read::Whole);
    query.record(keys::open_leases(), first());
    let places = Places {
        account: query.record(keys::account(cycle.start_ms), Read::Whole),
        holds: query.record(keys::open_holds(), first()),
        leases: (0..MOST).map(|lease| query.record(keys::lease(&lease_id(lease)), Read::Whole)).collect(),
        reservations: (0..MOST).map(|id| query.record(keys::reservation(&reservation_id(id)), Read::Whole)).collect(),
    };
    (query, places)
}

impl Books {
    pub(super) fn read(reply: &Reply, places: &Places) -> Self {
        let holds = match reply.record(places.holds) {
            Record::Index(entries) => {
                entries.iter().map(|(at, member)| Hold::from_entry(*at, member).unwrap()).collect()
            }
            _ => Vec::new(),
        };
        let reservation = |place: &RecordRef| reply.packed(*place).map(|record| Reservation::unpack(record).unwrap());
        Self {
            account: reply.hash(places.account).map(|fields| Account::from_fields(fields).unwrap()),
            leases: places.leases.iter().map(|place| reply.hash(*place).map(LeaseRecord::read)).collect(),
            reservations: places.reservations.iter().map(reservation).collect(),
            holds,
        }
    }

    /// A counter of the account; 0 while there is none.
    pub(super) fn counted(&self, counter: fn(&Account) -> i64) -> i64 {
        self.account.as_ref().map_or(0, counter)
    }

    /// What an open reservation's record says, if it has one.
    pub(super) fn recorded(&self, reservation: u8) -> Option<Recorded> {
        let found = self.reservations[usize::from(reservation)].as_ref().filter(|found| found.state == State::Open)?;
        Some(Recorded {
            reservation,
            credits: found.terms.credits,
            created_ms: found.created_at_ms,
            expires_ms: found.expires_at_ms,
        })
    }

    /// What is wrong in these books, if anything is: I1, and that every credit which is leased or held is known by a record and
    /// comes back by itself.
    pub(super) fn fault(&self, allotment: i64) -> Option<String> {
        let Some(account) = &self.account else { return None };
        let Account { used, held, leased, above_hold, waived, included, .. } = *account;
        let wrong = |what: &str| Some(format!("{what}: {account:?}, {:?}", self.leases));
        if included != allotment || waived != 0 {
            return wrong("what was promised did not fit the allotment");
        }
        if used + held + leased > allotment {
            return wrong("I1: more than the allotment is used, held and leased");
        }
        if [used, held, leased, above_hold].iter().any(|counter| *counter < 0) {
            return wrong("a counter is negative");
        }
        let live = || self.leases.iter().flatten().filter(|lease| !lease.reclaimed);
        if self.leases.iter().flatten().any(|lease| lease.rest < 0)
            || leased != live().map(|lease| lease.rest).sum::<i64>()
        {
            return wrong("what is leased is not what leases have");
        }
        let open = || self.reservations.iter().flatten().filter(|reservation| reservation.state == State::Open);
        if held != open().map(|reservation| reservation.terms.credits).sum::<i64>() {
            return wrong("what is held is not what open reservations have");
        }
        let mut due: Vec<i64> = live().map(|lease| lease.reclaim_at_ms).collect();
        due.extend(open().map(|reservation| reservation.expires_at_ms));
        due.sort_unstable();
        let found: Vec<i64> = self.holds.iter().map(|hold| hold.expires_at_ms).collect();
        if due != found { wrong("I5: what comes back by itself is not what is leased and held") } else { None }
    }
}

impl LeaseRecord {
    fn read(fields: &Fields) -> Self {
        let number = |field| fields.number(field).unwrap();
        Self {
            credits: number("credits"),
            rest: number("rest"),
            reclaim_at_ms: number("reclaim_at"),
            reclaimed: number("reclaimed") == 1,
        }
    }
}
