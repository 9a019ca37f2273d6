//! The store of the model: the real one in memory, with the real interpreter. Its states are numbered, so that a state of the model
//! is small; and what a request makes of one is worked out once.

use std::{
    collections::HashMap,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tollgate::{
    clock::{Clock, ManualClock},
    domain::keys,
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Read, Reply, Transaction, Write},
};

use super::{
    START_MS,
    books::{Books, look},
    request::{Answer, Making, Request, team, team_terms},
};

/// All states of the store that were reached.
pub(super) struct Shelf {
    making: Making,
    kept: Vec<Kept>,
    /// By what the store has, and when it was written to last.
    numbers: HashMap<(String, i64), usize>,
    known: HashMap<(usize, i64, Request), (usize, Answer)>,
    /// A store in a numbered state, at a time: if the next request changes nothing, it serves once more.
    at_hand: Option<(usize, At)>,
}

struct Kept {
    books: Rc<Books>,
    /// What made it, and when.
    made_by: Vec<(i64, Request)>,
}

/// A store, and its clock.
struct At {
    store: Store,
    clock: ManualClock,
}

impl Shelf {
    /// One whose first state, number 0, has a team, and nothing else.
    pub(super) fn new(making: Making) -> Self {
        let mut shelf =
            Self { making, kept: Vec::new(), numbers: HashMap::new(), known: HashMap::new(), at_hand: None };
        let at = shelf.made(&[], START_MS);
        shelf.keep(&at, Vec::new());
        shelf
    }

    pub(super) fn making(&self) -> &Making {
        &self.making
    }

    /// How many states there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// What a state has in its books.
    pub(super) fn books(&self, number: usize) -> Rc<Books> {
        Rc::clone(&self.kept[number].books)
    }

    /// What a request makes of a state, at a time.
    pub(super) fn ask(&mut self, number: usize, now_ms: i64, request: Request) -> (usize, Answer) {
        if let Some(known) = self.known.get(&(number, now_ms, request)) {
            return *known;
        }
        let at = match self.at_hand.take() {
            Some((at_hand, at)) if at_hand == number && at.clock.now_ms() <= now_ms => at,
            _ => self.made(&self.kept[number].made_by, now_ms),
        };
        at.clock.advance_to(now_ms);
        let mut changed = false;
        let answer = self.making.ask(request, now_ms, |step| {
            let reply = at.transact(step);
            changed = matches!(reply.outcome, tollgate::transaction::Outcome::Applied { .. });
            reply
        });
        let after = if changed {
            let made_by = [&self.kept[number].made_by[..], &[(now_ms, request)]].concat();
            self.keep(&at, made_by)
        } else {
            number
        };
        self.at_hand = Some((after, at));
        self.known.insert((number, now_ms, request), (after, answer));
        (after, answer)
    }

    fn keep(&mut self, at: &At, made_by: Vec<(i64, Request)>) -> usize {
        let (query, places) = look();
        let reply = at.transact(query);
        let written_ms = made_by.last().map_or(START_MS, |(at_ms, _)| *at_ms);
        let key = (format!("{:?}", reply.records), written_ms);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        self.kept.push(Kept { books: Rc::new(Books::read(&reply, &places)), made_by });
        self.numbers.insert(key, self.kept.len() - 1);
        self.kept.len() - 1
    }

    /// A store that these requests were made of.
    fn made(&self, requests: &[(i64, Request)], now_ms: i64) -> At {
        let clock = ManualClock::at(START_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), ..StoreOptions::default() };
        let store = ready(Store::open(&StoreLocation::Memory, options)).unwrap();
        let at = At { store, clock };
        at.transact(put_team(self.making.allotment));
        for (at_ms, request) in requests {
            at.clock.advance_to(*at_ms);
            self.making.ask(*request, *at_ms, |step| at.transact(step));
        }
        at.clock.advance_to(now_ms);
        at
    }
}

impl At {
    fn transact(&self, step: Transaction) -> Reply {
        ready(self.store.transact(step)).unwrap()
    }
}

fn put_team(allotment: i64) -> Transaction {
    let mut step = Transaction::on(keys::team(&team()));
    let record = step.record(keys::terms(), Read::Nothing);
    let times = ["created_at", "updated_at", "strict_until"].map(|field| (field, 0.into()));
    let fields = team_terms(allotment).fields().into_iter().chain(times);
    step.option(Vec::new(), fields.map(|(field, value)| Write::Set(record, field, value)).collect());
    step
}

/// What the store in memory answers, it answers at once.
fn ready<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the store in memory waits for something"),
    }
}
