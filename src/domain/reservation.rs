//! Reservations: what they say, which state they are in, and the packed record that keeps them.
//!
//! The record of an open reservation is also its grant: a caller that echoes it spares the store a read, and the store
//! compares it byte for byte with what it has, so that it need not be believed.

use super::{Damaged, billing_cycle::Cycle, id::Id, plan::Plan, policy::Policy};
use crate::transaction::{NUMBER_LIMIT, Value};

/// The first field of every record: the form of the rest.
const FORM: &str = "1";

const SEPARATOR: char = '|';

/// Why a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A block of a running flow.
    Run,
    /// Somebody tests a prompt.
    Test,
}

/// What covers a Proceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The allotment.
    Allotment,
    /// Blocks that overages may buy (rule 5).
    Overage,
    /// A current run past the limit (rule 3).
    RunCompletion,
}

/// What a caller asks a reservation for; a repeat has to say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The flow.
    pub flow: Id,
    /// The run; always there for [`Trigger::Run`].
    pub run: Option<Id>,
    /// The block; always there for [`Trigger::Run`].
    pub block: Option<Id>,
    /// The model's own name on the card.
    pub model: Id,
    /// Calls or images, at least 1.
    pub units: u32,
    /// Why.
    pub trigger: Trigger,
}

/// What was decided when a reservation was made. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Credits held.
    pub credits: i64,
    /// What covers them.
    pub basis: Basis,
    /// The cycle it belongs to (rule 6).
    pub cycle: Cycle,
    /// The version of the card that priced it.
    pub rate_card: Id,
    /// The plan it was priced for.
    pub plan: Plan,
}

/// What was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// In all.
    pub credits: i64,
    /// What was really used.
    pub units: u32,
    /// What was really called.
    pub model: Id,
    /// The hold had run out.
    pub late: bool,
}

/// Where a reservation stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The credits are held.
    Open,
    /// Charged.
    Committed(Charged),
    /// Given back by the caller.
    Released,
    /// The hold ran out.
    Expired,
}

/// A reservation as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked.
    pub content: Content,
    /// What was decided.
    pub terms: Terms,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// When the hold runs out, or would have, in Unix milliseconds.
    pub expires_at_ms: i64,
    /// Where it stands.
    pub state: State,
    /// When it left [`State::Open`], in Unix milliseconds.
    pub settled_at_ms: Option<i64>,
}

impl Content {
    /// The run that the call may make current, or complete: a test belongs to none.
    pub fn run_of_trigger(&self) -> Option<&Id> {
        self.run.as_ref().filter(|_| self.trigger == Trigger::Run)
    }
}

impl Reservation {
    /// Whether it is open in the store and its hold has run out: nobody has expired it yet.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.state == State::Open && self.expires_at_ms <= now_ms
    }

    /// The same reservation as it stands at a time: a due one has expired, whether or not somebody wrote that down.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        if self.is_due(now_ms) {
            self.state = State::Expired;
            self.settled_at_ms = Some(self.expires_at_ms);
        }
        self
    }

    /// Whether it is due for so long that its id has been forgotten.
    pub fn is_forgotten(&self, now_ms: i64, policy: &Policy) -> bool {
        self.is_due(now_ms) && self.expires_at_ms + policy.unsettled_retention_ms <= now_ms
    }

    /// The name of the member in the index of open holds.
    pub fn hold_member(&self, id: &Id) -> String {
        hold_member(id, &self.terms)
    }

    /// The record of this reservation, exactly as it is kept.
    pub fn packed(&self) -> String {
        let mut record = leading_fields(state_name(&self.state), &self.content, &self.terms);
        record.push_str(&format!("|{}|{}", self.created_at_ms, self.expires_at_ms));
        if let State::Committed(charged) = &self.state {
            record.push_str(&charged_fields(charged));
        }
        if let Some(settled_at_ms) = self.settled_at_ms {
            record.push_str(&format!("|{settled_at_ms}"));
        }
        record
    }

    /// The record after the hold was set to run out at another time.
    pub fn extended_parts(&self, expires_at: Value) -> Vec<Value> {
        let leading = leading_fields("open", &self.content, &self.terms);
        vec![format!("{leading}|{}|", self.created_at_ms).into(), expires_at]
    }

    /// The record after it was settled.
    pub fn settled_parts(&self, state: &State, settled_at: Value) -> Vec<Value> {
        let leading = leading_fields(state_name(state), &self.content, &self.terms);
        let mut text = format!("{leading}|{}|{}", self.created_at_ms, self.expires_at_ms);
        if let State::Committed(charged) = state {
            text.push_str(&charged_fields(charged));
        }
        text.push(SEPARATOR);
        vec![text.into(), settled_at]
    }

    /// Reads a record.
    pub fn unpack(record: &str) -> Result<Self, Damaged> {
        Fields(record.split(SEPARATOR)).reservation().ok_or_else(|| Damaged::new("reservation", "unreadable"))
    }
}

/// The record of a reservation that is made now and held for so long.
pub fn open_parts(content: &Content, terms: &Terms, hold_ms: i64) -> Vec<Value> {
    let leading = leading_fields("open", content, terms);
    vec![format!("{leading}|").into(), Value::now(), "|".into(), Value::now_plus(hold_ms)]
}

/// The name of a reservation's member in the index of open holds. It says how many credits of which cycle's allotment
/// come back when the hold runs out, so that a suspension can say when to ask again.
pub fn hold_member(id: &Id, terms: &Terms) -> String {
    let credits = if terms.basis == Basis::RunCompletion { 0 } else { terms.credits };
    member(id, terms.cycle.start_ms, credits)
}

/// A member of the index of open holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The reservation.
    pub reservation: Id,
    /// The start of the cycle that it belongs to, in Unix milliseconds.
    pub cycle_start_ms: i64,
    /// What comes back to that cycle's allotment.
    pub credits: i64,
    /// When, in Unix milliseconds.
    pub expires_at_ms: i64,
}

impl Hold {
    /// Reads an entry of the index.
    pub fn from_entry(expires_at_ms: i64, member: &str) -> Result<Self, Damaged> {
        let mut fields = Fields(member.split(SEPARATOR));
        let mut hold = || {
            Some(Self {
                reservation: fields.id()?,
                cycle_start_ms: fields.number()?,
                credits: fields.number()?,
                expires_at_ms,
            })
        };
        hold().ok_or_else(|| Damaged::new("holds", "unreadable"))
    }

    /// The name of its entry.
    pub fn member(&self) -> String {
        member(&self.reservation, self.cycle_start_ms, self.credits)
    }
}

fn member(id: &Id, cycle_start_ms: i64, credits: i64) -> String {
    format!("{id}|{cycle_start_ms}|{credits}")
}

fn leading_fields(state: &str, content: &Content, terms: &Terms) -> String {
    let optional = |id: &Option<Id>| id.as_ref().map_or(String::new(), ToString::to_string);
    format!(
        "{FORM}|{state}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
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

fn state_name(state: &State) -> &'static str {
    match state {
        State::Open => "open",
        State::Committed(_) => "committed",
        State::Released => "released",
        State::Expired => "expired",
    }
}

impl Trigger {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Test => "test",
        }
    }

    /// The trigger of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Run, Self::Test].into_iter().find(|trigger| trigger.name() == name)
    }
}

impl Basis {
    fn name(self) -> &'static str {
        match self {
            Self::Allotment => "allotment",
            Self::Overage => "overage",
            Self::RunCompletion => "run_completion",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Allotment, Self::Overage, Self::RunCompletion].into_iter().find(|basis| basis.name() == name)
    }
}

/// The fields of a record that are still to be read.
struct Fields<'a>(std::str::Split<'a, char>);

impl Fields<'_> {
    fn reservation(&mut self) -> Option<Reservation> {
        if self.0.next()? != FORM {
            return None;
        }
        let state_name = self.0.next()?;
        let credits = self.number()?;
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
                credits: self.number()?,
                units: self.number()?,
                model: self.id()?,
                late: self.number::<u8>()? == 1,
            }),
            "released" => State::Released,
            "expired" => State::Expired,
            _ => return None,
        };
        let settled_at_ms = if state == State::Open { None } else { Some(self.number()?) };
        let terms = Terms { credits, basis, cycle, rate_card, plan };
        let whole = self.0.next().is_none();
        whole.then_some(Reservation { content, terms, created_at_ms, expires_at_ms, state, settled_at_ms })
    }

    /// A number that a store could have kept: sums with it stay in range, whoever made up the record.
    fn number<N: TryFrom<i64>>(&mut self) -> Option<N> {
        let number: i64 = self.0.next()?.parse().ok()?;
        if number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs() { number.try_into().ok() } else { None }
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
            terms: Terms {
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
    fn a_cut_or_lengthened_record_is_refused() {
        let record = reservation(State::Released).packed();
        for (end, _) in record.char_indices().filter(|(_, character)| *character == SEPARATOR) {
            assert!(Reservation::unpack(&record[..end]).is_err(), "{}", &record[..end]);
        }
        assert!(Reservation::unpack(&format!("{record}|1")).is_err());
    }
}
