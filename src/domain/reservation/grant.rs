//! Grants: the bytes in a Proceed with which any client can settle the reservation at any sidecar.
//!
//! The grant of a reservation with a record is that record. A reservation that was opened from a lease has no record
//! yet, so its grant contains everything that the record would, and the ID of the lease. Neither kind is trusted: the
//! store compares the first with its own record, and the second is worth at most what is left of its lease.

use rmp::{
    decode::{read_array_len, read_int, read_str_from_slice},
    encode::{write_array_len, write_sint, write_str},
};

use super::{BackedReservation, Backing, Basis, Content, Reservation, ReservationTerms, State, Trigger};
use crate::{
    domain::{billing_cycle::Cycle, id::Id, lease::MAX_LEASE_HOLD_MS, plan::Plan},
    transaction::NUMBER_LIMIT,
};

/// Maximum size of a grant from a lease, in bytes: seven IDs and some numbers.
pub const MAX_GRANT_BYTES: usize = 1_024;

/// First byte of a grant from a lease: the header of a MessagePack array of 15. No record begins with it.
const ARRAY_OF_15: u8 = 0x9f;

/// Cycles begin and end at midnight.
const DAY_MS: i64 = 86_400_000;

/// Reads the grant that a client sent with the ID of a reservation. `None` if it is not a grant, or that of another
/// reservation.
pub fn read_grant(grant: &[u8], id: &Id) -> Option<BackedReservation> {
    if grant.first() == Some(&ARRAY_OF_15) {
        return read_leased(grant).filter(|(granted, _)| granted == id).map(|(_, held)| held);
    }
    let record = std::str::from_utf8(grant).ok()?;
    Reservation::unpack(record).ok().map(BackedReservation::from)
}

/// Writes the grant of a reservation that is opened from a lease. Returns its length in bytes, or `None` if `bytes` is
/// too short.
pub fn write_leased(id: &Id, lease: &Id, reservation: &Reservation, bytes: &mut [u8]) -> Option<usize> {
    let room = bytes.len();
    let mut rest = bytes;
    let Reservation { content, terms, created_at_ms, expires_at_ms, .. } = reservation;
    write_array_len(&mut rest, 15).ok()?;
    for text in [
        id.as_str(),
        lease.as_str(),
        terms.rate_card.as_str(),
        content.flow.as_str(),
        content.run.as_ref().map_or("", Id::as_str),
        content.block.as_ref().map_or("", Id::as_str),
        content.model.as_str(),
    ] {
        write_str(&mut rest, text).ok()?;
    }
    for number in [
        terms.credits,
        terms.cycle.start_ms / DAY_MS,
        (terms.cycle.end_ms - terms.cycle.start_ms) / DAY_MS,
        index_in(&Plan::ALL, terms.plan)?,
        i64::from(content.units),
        index_in(&TRIGGERS, content.trigger)?,
        created_at_ms - terms.cycle.start_ms,
        expires_at_ms - created_at_ms,
    ] {
        write_sint(&mut rest, number).ok()?;
    }
    Some(room - rest.len())
}

/// Returns the ID that a grant from a lease was written for. `None` if it is not such a grant.
pub fn leased_id(grant: &[u8]) -> Option<&str> {
    let mut numbers = grant;
    read_array_len(&mut numbers).ok()?;
    read_str_from_slice(numbers).ok().map(|(id, _)| id)
}

/// Reads a grant from a lease, and the ID of the reservation that it was written for.
pub fn read_leased(grant: &[u8]) -> Option<(Id, BackedReservation)> {
    let mut rest = GrantReader(grant);
    if read_array_len(&mut rest.0).ok()? != 15 {
        return None;
    }
    let (id, lease, rate_card, flow) = (rest.id()?, rest.id()?, rest.id()?, rest.id()?);
    let (run, block, model) = (rest.optional_id()?, rest.optional_id()?, rest.id()?);
    let credits = rest.number().filter(|credits| *credits >= 0)?;
    let start_ms = rest.number()?.checked_mul(DAY_MS)?;
    let end_ms = rest.number()?.checked_mul(DAY_MS)?.checked_add(start_ms)?;
    let cycle = Cycle { start_ms, end_ms };
    let plan = rest.one_of(&Plan::ALL)?;
    let units = u32::try_from(rest.number()?).ok()?;
    let trigger = rest.one_of(&TRIGGERS)?;
    let created_at_ms = rest.number()?.checked_add(start_ms)?;
    let expires_at_ms = created_at_ms.checked_add(rest.number()?)?;
    if !(0..=MAX_LEASE_HOLD_MS).contains(&(expires_at_ms - created_at_ms)) {
        return None;
    }
    let in_range = [cycle.start_ms, cycle.end_ms, expires_at_ms]
        .iter()
        .all(|at_ms| at_ms.unsigned_abs() < NUMBER_LIMIT.unsigned_abs());
    if !(rest.0.is_empty() && in_range) {
        return None;
    }
    let reservation = Reservation {
        content: Content { flow, run, block, model, units, trigger },
        terms: ReservationTerms { credits, basis: Basis::Allotment, cycle, rate_card, plan },
        created_at_ms,
        expires_at_ms,
        state: State::Open,
        settled_at_ms: None,
    };
    Some((
        id,
        BackedReservation { reservation, backing: Backing::Lease { id: lease, reclaimed: false, replaces: None } },
    ))
}

const TRIGGERS: [Trigger; 2] = [Trigger::Run, Trigger::Test];

fn index_in<T: PartialEq>(all: &[T], one: T) -> Option<i64> {
    all.iter().position(|other| *other == one).and_then(|index| i64::try_from(index).ok())
}

/// The part of a grant that was not read yet.
struct GrantReader<'a>(&'a [u8]);

impl GrantReader<'_> {
    /// Reads a number that a store could contain. Sums with it do not overflow, even if the client made the grant up.
    fn number(&mut self) -> Option<i64> {
        read_int(&mut self.0).ok().filter(|number: &i64| number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs())
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::try_from(self.number()?).ok()?).copied()
    }

    fn id(&mut self) -> Option<Id> {
        self.optional_id()?
    }

    fn optional_id(&mut self) -> Option<Option<Id>> {
        let (text, rest) = read_str_from_slice(self.0).ok()?;
        self.0 = rest;
        if text.is_empty() { Some(None) } else { Id::parse(text).ok().map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse(text).unwrap()
    }

    fn reservation(run: Option<Id>) -> Reservation {
        Reservation {
            content: Content {
                flow: id("flow"),
                block: run.clone(),
                run,
                model: id("gpt-4o"),
                units: 10_000,
                trigger: Trigger::Test,
            },
            terms: ReservationTerms {
                credits: 20_000,
                basis: Basis::Allotment,
                cycle: Cycle { start_ms: 20_400 * DAY_MS, end_ms: 20_430 * DAY_MS },
                rate_card: id("2025-01-22"),
                plan: Plan::Professional,
            },
            created_at_ms: 1_764_000_000_123,
            expires_at_ms: 1_764_000_120_123,
            state: State::Open,
            settled_at_ms: None,
        }
    }

    fn written(reservation: &Reservation) -> Vec<u8> {
        let mut bytes = [0; MAX_GRANT_BYTES];
        let length = write_leased(&id("reservation"), &id("sidecar.7"), reservation, &mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn a_grant_from_a_lease_reads_back_as_it_was_written() {
        for run in [None, Some(id("run"))] {
            let reservation = reservation(run);
            let grant = written(&reservation);
            let backing = Backing::Lease { id: id("sidecar.7"), reclaimed: false, replaces: None };
            assert_eq!(leased_id(&grant), Some("reservation"));
            assert_eq!(read_grant(&grant, &id("reservation")), Some(BackedReservation { reservation, backing }));
            assert_eq!(read_grant(&grant, &id("another")), None, "it is the grant of one reservation");
        }
    }

    /// A grant that was cut, lengthened or made up is not read.
    #[test]
    fn a_malformed_grant_is_refused() {
        let grant = written(&reservation(None));
        for end in 0..grant.len() {
            assert_eq!(read_grant(&grant[..end], &id("reservation")), None, "{end}");
        }
        let longer = [&grant[..], &[0]].concat();
        assert_eq!(read_grant(&longer, &id("reservation")), None);
        let mut negative = reservation(None);
        negative.terms.credits = -1;
        assert_eq!(read_grant(&written(&negative), &id("reservation")), None);
    }

    #[test]
    fn the_longest_ids_have_room() {
        let long = id(&"x".repeat(128));
        let mut reservation = reservation(Some(long.clone()));
        reservation.content = Content { flow: long.clone(), model: long.clone(), ..reservation.content };
        reservation.terms.rate_card = long.clone();
        let mut bytes = [0; MAX_GRANT_BYTES];
        assert!(write_leased(&long, &long, &reservation, &mut bytes).is_some());
    }

    /// The grant of a reservation with a record is that record.
    #[test]
    fn the_grant_of_a_recorded_reservation_is_its_record() {
        let reservation = reservation(None);
        let held = read_grant(reservation.packed().as_bytes(), &id("reservation")).unwrap();
        assert_eq!(held, reservation.into());
    }
}
