//! The store of the model: the real one in memory, with the real interpreter. Its states are numbered, so that a state of the model
//! is small; and what a request makes of one is worked out once.

use std::{
    collections::HashMap,
    iter::successors,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use foldhash::fast::RandomState;
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{keys, terms::Terms},
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Outcome, Read, Reply, Transaction, Write},
};

use super::{
    START_MS,
    books::{Books, look},
    request::{Answer, Making, Request, team},
};

/// All states of the store that were reached.
pub(super) struct Shelf {
    making: Making,
    kept: Vec<Kept>,
    /// By what the store has.
    numbers: HashMap<String, usize>,
    known: HashMap<(usize, i64, Request), (usize, Answer), RandomState>,
    /// A store in a numbered state, at a time: if the next request changes nothing, it serves once more.
    at_hand: Option<(usize, At)>,
}

struct Kept {
    books: Rc<Books>,
    /// What is wrong in them.
    fault: Option<String>,
    /// The state before it, and the step that made it of that, and when; of the first, nothing.
    made_by: Option<(usize, i64, Transaction)>,
}

fn at_ms(made_by: &(usize, i64, Transaction)) -> i64 {
    made_by.1
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
            Self { making, kept: Vec::new(), numbers: HashMap::new(), known: HashMap::default(), at_hand: None };
        let at = shelf.made(None, START_MS);
        shelf.keep(&at, None);
        shelf
    }

    /// How many states there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// What a state has in its books.
    pub(super) fn books(&self, number: usize) -> Rc<Books> {
        Rc::clone(&self.kept[number].books)
    }

    /// What every request is built from.
    pub(super) fn making(&self) -> &Making {
        &self.making
    }

    /// What is wrong in a state's books.
    pub(super) fn fault(&self, number: usize) -> Option<&String> {
        self.kept[number].fault.as_ref()
    }

    /// What a request makes of a state, at a time.
    pub(super) fn ask(&mut self, number: usize, now_ms: i64, request: Request) -> (usize, Answer) {
        if let Some(known) = self.known.get(&(number, now_ms, request)) {
            return *known;
        }
        let at = match self.at_hand.take() {
            Some((at_hand, at)) if at_hand == number && at.clock.now_ms() <= now_ms => at,
            _ => self.made(Some(number), now_ms),
        };
        at.clock.advance_to(now_ms);
        let mut made_by = None;
        let answer = self.making.ask(request, now_ms, |step| {
            let kept = step.clone();
            let reply = at.transact(step);
            made_by = matches!(reply.outcome, Outcome::Applied { .. }).then_some((number, now_ms, kept));
            reply
        });
        let after = if made_by.is_some() { self.keep(&at, made_by) } else { number };
        self.at_hand = Some((after, at));
        self.known.insert((number, now_ms, request), (after, answer));
        (after, answer)
    }

    fn keep(&mut self, at: &At, made_by: Option<(usize, i64, Transaction)>) -> usize {
        let (query, places) = look(&self.making.team);
        let reply = at.transact(query);
        let key = format!("{:?}", reply.records);
        if let Some(number) = self.numbers.get(&key) {
            let kept = &mut self.kept[*number];
            // However a state is reached first, it is made so that it serves at the earliest time that it was reached at.
            if made_by.as_ref().map(at_ms) < kept.made_by.as_ref().map(at_ms) {
                kept.made_by = made_by;
            }
            return *number;
        }
        let books = Books::read(&reply, &places, &self.making.team);
        let fault = books.fault();
        self.kept.push(Kept { books: Rc::new(books), fault, made_by });
        self.numbers.insert(key, self.kept.len() - 1);
        self.kept.len() - 1
    }

    /// A store in a numbered state, made as that was made; without a number, one that has only a team.
    fn made(&self, number: Option<usize>, now_ms: i64) -> At {
        let clock = ManualClock::at(START_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), ..StoreOptions::default() };
        let store = ready(Store::open(&StoreLocation::Memory, options)).unwrap();
        let at = At { store, clock };
        at.transact(put_team(&self.making.team));
        let before = |number: &usize| self.kept[*number].made_by.as_ref().map(|(before, _, _)| *before);
        let mut way: Vec<usize> = successors(number, before).collect();
        way.reverse();
        for (_, at_ms, step) in way.into_iter().filter_map(|number| self.kept[number].made_by.as_ref()) {
            at.clock.advance_to(*at_ms);
            at.transact(step.clone());
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

fn put_team(terms: &Terms) -> Transaction {
    let mut step = Transaction::on(keys::team(&team()));
    let record = step.record(keys::terms(), Read::Nothing);
    let times = ["created_at", "updated_at", "strict_until"].map(|field| (field, 0.into()));
    let fields = terms.fields().into_iter().chain(times);
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
