//! The packed record of a reservation: one line of text. The record of an open reservation is also its grant.
//!
//! A client that sends it back saves the store a read. The store compares it byte for byte with its own record, so the
//! client is not trusted.

use super::{Basis, Charged, Content, Reservation, ReservationTerms, State, Trigger};
use crate::{
    domain::{Damaged, billing_cycle::Cycle, id::Id, plan::Plan},
    transaction::{Value, parse_stored_number},
};

/// First field of every record: the version of the format.
const FORMAT_VERSION: &str = "1";

const SEPARATOR: char = '|';

impl Reservation {
    /// Returns the record of this reservation exactly as the store keeps it.
    pub fn packed(&self) -> String {
        let mut record = leading_fields(self.state.name(), &self.content, &self.terms);
        record.push_str(&format!("|{}|{}", self.created_at_ms, self.expires_at_ms));
        if let State::Committed(charged) = &self.state {
            record.push_str(&charged_fields(charged));
        }
        if let Some(settled_at_ms) = self.settled_at_ms {
            record.push_str(&format!("|{settled_at_ms}"));
        }
        record
    }

    /// Returns the record after the end of the hold was changed.
    pub fn extended_parts(&self, expires_at: Value) -> Vec<Value> {
        let leading = leading_fields("open", &self.content, &self.terms);
        vec![format!("{leading}|{}|", self.created_at_ms).into(), expires_at]
    }

    /// Returns the record after it was settled.
    pub fn settled_parts(&self, state: &State, settled_at: Value) -> Vec<Value> {
        let leading = leading_fields(state.name(), &self.content, &self.terms);
        let mut text = format!("{leading}|{}|{}", self.created_at_ms, self.expires_at_ms);
        if let State::Committed(charged) = state {
            text.push_str(&charged_fields(charged));
        }
        text.push(SEPARATOR);
        vec![text.into(), settled_at]
    }

    /// Reads a record.
    pub fn unpack(record: &str) -> Result<Self, Damaged> {
        RecordReader(record.split(SEPARATOR))
            .reservation()
            .ok_or_else(|| Damaged::new("reservation", "not in the expected format"))
    }
}

/// Returns the record of a reservation that is made now and held for `hold_ms`.
pub fn open_parts(content: &Content, terms: &ReservationTerms, hold_ms: i64) -> Vec<Value> {
    let leading = leading_fields("open", content, terms);
    vec![format!("{leading}|").into(), Value::now(), "|".into(), Value::now_plus(hold_ms)]
}

fn leading_fields(state: &str, content: &Content, terms: &ReservationTerms) -> String {
    let optional = |id: &Option<Id>| id.as_ref().map_or(String::new(), ToString::to_string);
    format!(
        "{FORMAT_VERSION}|{state}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
        terms.credits,
        terms.basis.name(),
        terms.cycle.start_ms,
        terms.cycle.end_ms,
        terms.rate_card,
        terms.plan.name(),
        content.flow,
        optional(&content.run),
        optional(&content.block),
        content.model,
        content.units,
        content.trigger.name(),
    )
}

fn charged_fields(charged: &Charged) -> String {
    format!("|{}|{}|{}|{}", charged.credits, charged.units, charged.model, u8::from(charged.late))
}

/// The fields of a record that were not read yet.
struct RecordReader<'a>(std::str::Split<'a, char>);

impl RecordReader<'_> {
    fn reservation(&mut self) -> Option<Reservation> {
        if self.0.next()? != FORMAT_VERSION {
            return None;
        }
        let state_name = self.0.next()?;
        let credits = self.credits()?;
        let basis = Basis::parse(self.0.next()?)?;
        let cycle = Cycle { start_ms: self.number()?, end_ms: self.number()? };
        let rate_card = self.id()?;
        let plan = Plan::parse(self.0.next()?)?;
        let content = Content {
            flow: self.id()?,
            run: self.optional_id()?,
            block: self.optional_id()?,
            model: self.id()?,
            units: self.number()?,
            trigger: Trigger::parse(self.0.next()?)?,
        };
        let created_at_ms = self.number()?;
        let expires_at_ms = self.number()?;
        let state = match state_name {
            "open" => State::Open,
            "committed" => State::Committed(Charged {
                credits: self.credits()?,
                units: self.number()?,
                model: self.id()?,
                late: self.flag()?,
            }),
            "released" => State::Released,
            "expired" => State::Expired,
            _ => return None,
        };
        let settled_at_ms = if state == State::Open { None } else { Some(self.number()?) };
        let terms = ReservationTerms { credits, basis, cycle, rate_card, plan };
        let whole = self.0.next().is_none();
        whole.then_some(Reservation { content, terms, created_at_ms, expires_at_ms, state, settled_at_ms })
    }

    /// Reads a number that a store could contain. Sums with it do not overflow, even if the client made the record up.
    fn number<N: TryFrom<i64>>(&mut self) -> Option<N> {
        parse_stored_number(self.0.next()?)?.try_into().ok()
    }

    fn credits(&mut self) -> Option<i64> {
        self.number().filter(|credits| *credits >= 0)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.0.next()? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    fn id(&mut self) -> Option<Id> {
        Id::parse(self.0.next()?).ok()
    }

    fn optional_id(&mut self) -> Option<Option<Id>> {
        let text = self.0.next()?;
        if text.is_empty() { Some(None) } else { Id::parse(text).ok().map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(state: State) -> Reservation {
        let id = |text| Id::parse(text).unwrap();
        let settled_at_ms = (state != State::Open).then_some(3_000);
        Reservation {
            content: Content {
                flow: id("flow:1"),
                run: Some(id("run-1")),
                block: None,
                model: id("gpt-3.5"),
                units: 3,
                trigger: Trigger::Test,
            },
            terms: ReservationTerms {
                credits: 15,
                basis: Basis::Overage,
                cycle: Cycle { start_ms: 1, end_ms: 2 },
                rate_card: id("2025-01-22"),
                plan: Plan::Basic,
            },
            created_at_ms: 1_000,
            expires_at_ms: 2_000,
            state,
            settled_at_ms,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_in_every_state() {
        let charged = Charged { credits: 10, units: 2, model: Id::parse("gpt-4").unwrap(), late: true };
        for state in [State::Open, State::Committed(charged), State::Released, State::Expired] {
            let reservation = reservation(state);
            let record = reservation.packed();
            assert_eq!(Reservation::unpack(&record).unwrap(), reservation, "{record}");
        }
    }

    #[test]
    fn a_record_that_would_not_be_written_so_is_refused() {
        let charged = Charged { credits: 10, units: 2, model: Id::parse("gpt-4").unwrap(), late: true };
        let record = reservation(State::Committed(charged)).packed();
        assert_eq!(
            record,
            "1|committed|15|overage|1|2|2025-01-22|basic|flow:1|run-1||gpt-3.5|3|test|1000|2000|10|2|gpt-4|1|3000"
        );
        for (written, instead) in [
            ("|15|", "|+15|"),
            ("|15|", "|015|"),
            ("|15|", "|-15|"),
            ("|10|2|", "|-10|2|"),
            ("|1|3000", "|2|3000"),
            ("|3000", "|70368744177664"),
        ] {
            let other = record.replacen(written, instead, 1);
            assert_ne!(other, record);
            assert!(Reservation::unpack(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_cut_or_lengthened_record_is_refused() {
        let record = reservation(State::Released).packed();
        for (end, _) in record.char_indices().filter(|(_, character)| *character == SEPARATOR) {
            assert!(Reservation::unpack(&record[..end]).is_err(), "{}", &record[..end]);
        }
        assert!(Reservation::unpack(&format!("{record}|1")).is_err());
    }
}
