//! Lanes: transactions that wait for each other travel in one call.
//!
//! There is one lane for all teams, unless the server takes keys of one scope only in a call, as one of a cluster does: then each has
//! its own, as global scopes always have. A lane is there only while calls of it are on their way. Who finds fewer than
//! [`FLIGHTS`] of them goes at once, in a task of his own, and pays nothing but his entry. Who comes later waits in the lane, and
//! when a call returns, those who wait go together, in the order in which they came. Nobody depends on another's deadlines: who
//! goes away is left behind, and a call whose caller went away still lets the next one go.

use std::{collections::VecDeque, sync::Arc};

use dashmap::{DashMap, Entry};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    super::error::{BatchReplies, StoreError},
    Shared,
};
use crate::transaction::{Scope, Transaction};

/// How many calls of one lane are on their way at once: with one alone the server would stand idle while an answer travels and
/// is read; with many, each would carry less.
const FLIGHTS: usize = 4;

/// How many transactions travel in one call. The server does nothing else meanwhile, and takes some fifty microseconds for each.
const BATCH_LIMIT: usize = 64;

/// The name of the lane of all teams, which no scope has.
const ALL_TEAMS: &str = "*";

/// The lanes that have calls on their way, by the scope that they are for.
#[derive(Default)]
pub(super) struct Lanes(DashMap<Scope, Lane>);

#[derive(Default)]
struct Lane {
    flights: usize,
    waiting: VecDeque<Waiting>,
}

/// Transactions that wait for a call to return.
struct Waiting {
    transactions: Vec<Transaction>,
    answer: oneshot::Sender<BatchReplies>,
}

/// How a call goes on.
pub(super) enum Way {
    /// At once.
    Go(Flight, Vec<Transaction>),
    /// With others; this gets the answer.
    Wait(oneshot::Receiver<BatchReplies>),
}

/// One of the calls of a lane that are on their way. When it ends, however it does, those who wait go on.
pub(super) struct Flight {
    shared: Arc<Shared>,
    lane: Scope,
    landed: bool,
}

/// Enters the lane of a scope.
pub(super) fn enter(shared: &Arc<Shared>, scope: Scope, transactions: Vec<Transaction>) -> Way {
    let shares = shared.link.takes_scopes_together() && !scope.is_global();
    let lane = if shares { Scope::new(ALL_TEAMS) } else { scope };
    match shared.lanes.enter(&lane, transactions) {
        Ok(transactions) => Way::Go(Flight { shared: Arc::clone(shared), lane, landed: false }, transactions),
        Err(answer) => Way::Wait(answer),
    }
}

impl Lanes {
    /// Goes, or waits for the answer.
    fn enter(
        &self,
        lane: &Scope,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Transaction>, oneshot::Receiver<BatchReplies>> {
        let mut lane = self.0.entry(lane.clone()).or_default();
        if lane.flights < FLIGHTS {
            lane.flights += 1;
            return Ok(transactions);
        }
        let (answer, answered) = oneshot::channel();
        lane.waiting.push_back(Waiting { transactions, answer });
        Err(answered)
    }

    /// Those who go in place of a call that has returned. If there are none, it was one of the last.
    fn next(&self, lane: &Scope) -> Option<Vec<Waiting>> {
        let Entry::Occupied(mut lane) = self.0.entry(lane.clone()) else { return None };
        let batch = lane.get_mut().next();
        if !batch.is_empty() {
            return Some(batch);
        }
        lane.get_mut().flights -= 1;
        if lane.get().flights == 0 {
            lane.remove();
        }
        None
    }
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
    /// Those who go in this one's place; if there are none, it has landed.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let next = self.shared.lanes.next(&self.lane);
        self.landed = next.is_none();
        next
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
            let next = Self { shared: Arc::clone(&self.shared), lane: self.lane.clone(), landed: false };
            // Without a runtime everything ends, and whoever waits is told so by the loss of his place.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(next.on(batch));
            }
        }
    }
}

/// Gives everybody what is theirs of the replies to a call.
fn answer(batch: Vec<Waiting>, replies: BatchReplies) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> Vec<Transaction> {
        vec![Transaction::on(Scope::new("team")); count]
    }

    #[test]
    fn some_go_at_once_and_the_others_together_and_the_lane_is_gone_with_the_last() {
        let (lanes, scope) = (Lanes::default(), Scope::new("team"));
        for _ in 0..FLIGHTS {
            assert!(lanes.enter(&scope, batch(1)).is_ok());
        }
        let mut answers: Vec<_> = (0..BATCH_LIMIT + 2).map(|_| lanes.enter(&scope, batch(1)).unwrap_err()).collect();
        drop(answers.remove(0));
        let sizes = |lanes: &Lanes| lanes.next(&scope).map(|batch| batch.len());
        assert_eq!(sizes(&lanes), Some(BATCH_LIMIT), "who went away takes nobody's place");
        assert_eq!(sizes(&lanes), Some(1));
        assert_eq!(lanes.0.len(), 1);
        for _ in 0..FLIGHTS {
            assert_eq!(sizes(&lanes), None);
        }
        assert!(lanes.0.is_empty());
    }

    #[test]
    fn a_call_of_more_transactions_than_fit_goes_alone() {
        let (lanes, scope) = (Lanes::default(), Scope::new("team"));
        for _ in 0..FLIGHTS {
            assert!(lanes.enter(&scope, batch(1)).is_ok());
        }
        let _answers = [1, BATCH_LIMIT + 1, 1].map(|count| lanes.enter(&scope, batch(count)).unwrap_err());
        for expected in [1, BATCH_LIMIT + 1, 1] {
            let next = lanes.next(&scope).unwrap();
            assert_eq!(next.iter().map(|waiting| waiting.transactions.len()).sum::<usize>(), expected);
        }
    }
}
