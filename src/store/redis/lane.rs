//! Lanes: transactions of one scope that wait for each other travel in one call.
//!
//! A scope has a lane only while calls of it are on their way. Who finds fewer than [`FLIGHTS`] of them goes at once, in a task of
//! his own, and pays nothing but his entry. Who comes later waits in the lane, and when a call returns, those who wait go
//! together, in the order in which they came. Nobody depends on another's patience: who goes away is left behind, and a call whose
//! caller went away still lets the next one go.

use std::{collections::VecDeque, sync::Arc};

use dashmap::{DashMap, Entry};
use tokio::{runtime::Handle, sync::oneshot};

use super::{Shared, script::Replies};
use crate::{
    store::StoreError,
    transaction::{Scope, Transaction},
};

/// How many calls of one scope are on their way at once: with one alone the server would stand idle while an answer travels and
/// is read; with many, each would carry less.
const FLIGHTS: usize = 2;

/// How many transactions travel in one call. The server does nothing else meanwhile, and takes some fifty microseconds for each.
const BATCH_LIMIT: usize = 64;

/// The lanes of all scopes that have calls on their way.
pub(super) type Lanes = DashMap<Scope, Lane>;

#[derive(Default)]
pub(super) struct Lane {
    flights: usize,
    waiting: VecDeque<Waiting>,
}

/// Transactions that wait for a call to return.
struct Waiting {
    transactions: Vec<Transaction>,
    answer: oneshot::Sender<Replies>,
}

/// How a call goes on.
pub(super) enum Way {
    /// At once.
    Go(Flight, Vec<Transaction>),
    /// With others; this gets the answer.
    Wait(oneshot::Receiver<Replies>),
}

/// One of the calls of a scope that are on their way. When it ends, however it does, those who wait go on.
pub(super) struct Flight {
    shared: Arc<Shared>,
    scope: Scope,
    landed: bool,
}

/// Enters the lane of a scope.
pub(super) fn enter(shared: &Arc<Shared>, scope: Scope, transactions: Vec<Transaction>) -> Way {
    let mut lane = shared.lanes.entry(scope.clone()).or_default();
    if lane.flights < FLIGHTS {
        lane.flights += 1;
        drop(lane);
        return Way::Go(Flight { shared: Arc::clone(shared), scope, landed: false }, transactions);
    }
    let (answer, answered) = oneshot::channel();
    lane.waiting.push_back(Waiting { transactions, answer });
    Way::Wait(answered)
}

impl Lane {
    /// Those who go next. Who waits no longer is left behind: nothing of his was carried out.
    fn next(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut room = BATCH_LIMIT;
        while let Some(first) = self.waiting.pop_front() {
            if first.answer.is_closed() {
                continue;
            }
            // Whoever brings more than fits goes alone.
            if first.transactions.len() > room && !batch.is_empty() {
                self.waiting.push_front(first);
                break;
            }
            room = room.saturating_sub(first.transactions.len());
            batch.push(first);
        }
        batch
    }
}

impl Flight {
    /// Those who go next in this one's place; if there are none, it has ended.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let Entry::Occupied(mut lane) = self.shared.lanes.entry(self.scope.clone()) else { return None };
        let batch = lane.get_mut().next();
        if !batch.is_empty() {
            return Some(batch);
        }
        self.landed = true;
        lane.get_mut().flights -= 1;
        if lane.get().flights == 0 {
            lane.remove();
        }
        None
    }

    /// Flies for those who wait, until nobody does.
    async fn on(mut self, mut batch: Vec<Waiting>) {
        loop {
            let all = batch.iter().flat_map(|waiting| &waiting.transactions);
            let replies = self.shared.call(all).await;
            answer(batch, replies);
            match self.next() {
                Some(next) => batch = next,
                None => return,
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        if let Some(batch) = self.next() {
            let next = Self { shared: Arc::clone(&self.shared), scope: self.scope.clone(), landed: false };
            // Without a runtime everything ends, and whoever waits is told so by the loss of his place.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(next.on(batch));
            }
        }
    }
}

/// Gives everybody what is theirs of the replies to a call.
fn answer(batch: Vec<Waiting>, replies: Replies) {
    let mut replies = replies.map(Vec::into_iter);
    for waiting in batch {
        let count = waiting.transactions.len();
        let theirs = match &mut replies {
            Ok(replies) => Ok(replies.by_ref().take(count).collect()),
            Err(error) => Err(StoreError::clone(error)),
        };
        // Who went away meanwhile does not listen.
        let _ = waiting.answer.send(theirs);
    }
}
