//! The store of the model: the real memory store with the real interpreter. Its states are numbered, which keeps states
//! of the model small. The effect of a request on a state is computed once.

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
    books::{Books, query_records},
    request::{Answer, Request, Setup, team},
};

/// All states of the store that were reached.
pub(super) struct StoreStates {
    setup: Setup,
    states: Vec<StoredState>,
    /// Numbers of the states, by their content.
    numbers: HashMap<String, usize>,
    known: HashMap<(usize, i64, Request), (usize, Answer), RandomState>,
    /// A live store in a numbered state. It is reused if the next request starts from that state.
    reusable: Option<(usize, LiveStore)>,
}

struct StoredState {
    books: Rc<Books>,
    /// What is wrong in the books.
    fault: Option<String>,
    /// The state before it, the time, and the transaction that led to this state. `None` for the first state.
    made_by: Option<(usize, i64, Transaction)>,
}

fn at_ms(made_by: &(usize, i64, Transaction)) -> i64 {
    made_by.1
}

/// A live store and its clock.
struct LiveStore {
    store: Store,
    clock: ManualClock,
}

impl StoreStates {
    /// Returns a collection whose first state, number 0, has a team and nothing else.
    pub(super) fn new(setup: Setup) -> Self {
        let mut stores =
            Self { setup, states: Vec::new(), numbers: HashMap::new(), known: HashMap::default(), reusable: None };
        let at = stores.rebuild(None, START_MS);
        stores.number_of(&at, None);
        stores
    }

    /// Returns the number of states.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns the books of a state.
    pub(super) fn books(&self, number: usize) -> Rc<Books> {
        Rc::clone(&self.states[number].books)
    }

    /// Returns what every request is built from.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Returns what is wrong in the books of a state.
    pub(super) fn fault(&self, number: usize) -> Option<&String> {
        self.states[number].fault.as_ref()
    }

    /// Returns the state after a request at a time, and the answer.
    pub(super) fn ask(&mut self, number: usize, now_ms: i64, request: Request) -> (usize, Answer) {
        if let Some(known) = self.known.get(&(number, now_ms, request)) {
            return *known;
        }
        let at = match self.reusable.take() {
            Some((reusable, at)) if reusable == number && at.clock.now_ms() <= now_ms => at,
            _ => self.rebuild(Some(number), now_ms),
        };
        at.clock.advance_to(now_ms);
        let mut made_by = None;
        let answer = self.setup.ask(request, now_ms, |step| {
            let applied = step.clone();
            let reply = at.transact(step);
            made_by = matches!(reply.outcome, Outcome::Applied { .. }).then_some((number, now_ms, applied));
            reply
        });
        let after = if made_by.is_some() { self.number_of(&at, made_by) } else { number };
        self.reusable = Some((after, at));
        self.known.insert((number, now_ms, request), (after, answer));
        (after, answer)
    }

    fn number_of(&mut self, at: &LiveStore, made_by: Option<(usize, i64, Transaction)>) -> usize {
        let (query, refs) = query_records(&self.setup.team);
        let reply = at.transact(query);
        let key = format!("{:?}", reply.records);
        if let Some(number) = self.numbers.get(&key) {
            let known = &mut self.states[*number];
            // A state can be reached in several ways. The earliest one is kept, so that it can be rebuilt for any later
            // time.
            if made_by.as_ref().map(at_ms) < known.made_by.as_ref().map(at_ms) {
                known.made_by = made_by;
            }
            return *number;
        }
        let books = Books::read(&reply, &refs, &self.setup.team);
        let fault = books.fault();
        self.states.push(StoredState { books: Rc::new(books), fault, made_by });
        self.numbers.insert(key, self.states.len() - 1);
        self.states.len() - 1
    }

    /// Builds a live store in a numbered state by repeating the transactions that led to it. Without a number, the
    /// store has only a team.
    fn rebuild(&self, number: Option<usize>, now_ms: i64) -> LiveStore {
        let clock = ManualClock::at(START_MS);
        let options = StoreOptions { clock: Clock::Manual(clock.clone()), ..StoreOptions::default() };
        let store = ready(Store::open(&StoreLocation::Memory, options)).unwrap();
        let at = LiveStore { store, clock };
        at.transact(put_team(&self.setup.team));
        let before = |number: &usize| self.states[*number].made_by.as_ref().map(|(before, _, _)| *before);
        let mut path: Vec<usize> = successors(number, before).collect();
        path.reverse();
        for (_, at_ms, step) in path.into_iter().filter_map(|number| self.states[number].made_by.as_ref()) {
            at.clock.advance_to(*at_ms);
            at.transact(step.clone());
        }
        at.clock.advance_to(now_ms);
        at
    }
}

impl LiveStore {
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

/// The memory store answers without waiting.
fn ready<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the store in memory waits for something"),
    }
}
