//! Batches calls: transactions that arrive while the server is busy travel together in one call of the script.
//!
//! A lane is a queue with up to [`MAX_IN_FLIGHT`] calls in flight. All teams share one lane, unless the server accepts
//! only keys of one scope in a call, as a server of a cluster does; then each team has its own lane. A global scope
//! always has its own lane. A lane exists only while it has calls in flight.
//!
//! - A caller that finds a free slot sends its transactions at once, alone, on its own task. This is the common case, and it costs
//!   one look into a map.
//! - A caller that finds all slots taken joins the lane's queue. When any call in flight returns, its slot is used again at
//!   once, for one call that carries all queued transactions in their order of arrival, up to [`BATCH_LIMIT`].
//! - A caller that goes away (its future is dropped) delays no other caller. If it was queued, its transactions are never sent. If its
//!   call was in flight, its slot passes on to the queue, and a task of its own makes the next call.
//!
//! # Example
//!
//! Suppose that [`MAX_IN_FLIGHT`] were 1, a call took 300 µs, and three callers arrived 50 µs apart:
//!
//! ```text
//! time     caller A                caller B                caller C
//!   0 µs   finds a free slot,
//!          sends call 1 = [A]
//!  50 µs                           no free slot: queued
//! 100 µs                                                   no free slot: queued
//! 300 µs   call 1 returns:         the slot of call 1 sends call 2 = [B, C],
//!          A has its reply         on a new task (`LaneSlot::run_queue`)
//! 600 µs                           call 2 returns:         call 2 returns:
//!                                  B has its reply         C has its reply
//!          the queue is empty: the slot is free again, the lane is removed
//! ```
//!
//! A waits for call 1 only. B and C each wait for the rest of call 1 and for call 2. The server executed the script
//! twice instead of three times. With [`MAX_IN_FLIGHT`] of 4, A, B and C each find a free slot and are sent alone; the
//! fifth concurrent caller is the first to queue.

use std::{collections::VecDeque, sync::Arc};

use dashmap::{DashMap, Entry};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    super::error::{BatchReplies, StoreError},
    script_caller::ScriptCaller,
};
use crate::transaction::{Scope, Transaction};

/// Maximum number of calls of one lane in flight. With a single one, the server would be idle while an answer travels
/// and is decoded. With many, each call would carry fewer transactions.
const MAX_IN_FLIGHT: usize = 4;

/// Maximum number of transactions in one call. The server does nothing else while it executes a call, which takes about
/// 50 µs for each transaction.
const BATCH_LIMIT: usize = 64;

/// Name of the lane that all teams share. No scope has this name.
const ALL_TEAMS: &str = "*";

/// The lanes, and the caller that sends their calls.
pub(super) struct BatchLanes {
    caller: ScriptCaller,
    lanes: LaneMap,
}

/// The lanes that have calls in flight, by the scope that they serve.
#[derive(Default)]
struct LaneMap(DashMap<Scope, Lane>);

#[derive(Default)]
struct Lane {
    /// Number of calls in flight.
    in_flight: usize,
    queue: VecDeque<QueuedCall>,
}

/// Transactions that wait for a slot.
struct QueuedCall {
    transactions: Vec<Transaction>,
    reply: oneshot::Sender<BatchReplies>,
}

/// What a caller does next.
pub(super) enum Admission {
    /// It sends its transactions at once, and holds the slot until the answer arrives.
    Send(LaneSlot, Vec<Transaction>),
    /// It waits for its replies. Another task sends its transactions.
    Queued(oneshot::Receiver<BatchReplies>),
}

/// One of the [`MAX_IN_FLIGHT`] slots of a lane. When it is dropped, it passes on to the queue, or becomes free.
pub(super) struct LaneSlot {
    lanes: Arc<BatchLanes>,
    lane: Scope,
    released: bool,
}

impl BatchLanes {
    /// Makes lanes whose calls this caller sends.
    pub(super) fn new(caller: ScriptCaller) -> Self {
        Self { caller, lanes: LaneMap::default() }
    }

    /// The caller that sends the calls.
    pub(super) fn caller(&self) -> &ScriptCaller {
        &self.caller
    }

    /// Takes a slot of the scope's lane, or joins its queue.
    pub(super) fn enter(self: &Arc<Self>, scope: Scope, transactions: Vec<Transaction>) -> Admission {
        let is_shared = self.caller.connection.accepts_several_scopes() && !scope.is_global();
        let lane = if is_shared { Scope::new(ALL_TEAMS) } else { scope };
        match self.lanes.enter(&lane, transactions) {
            Ok(transactions) => {
                Admission::Send(LaneSlot { lanes: Arc::clone(self), lane, released: false }, transactions)
            }
            Err(replies) => Admission::Queued(replies),
        }
    }
}

impl LaneMap {
    /// Takes a slot and returns the transactions to send, or queues them and returns where the replies will arrive.
    fn enter(
        &self,
        lane: &Scope,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<Transaction>, oneshot::Receiver<BatchReplies>> {
        let mut lane = self.0.entry(lane.clone()).or_default();
        if lane.in_flight < MAX_IN_FLIGHT {
            lane.in_flight += 1;
            return Ok(transactions);
        }
        let (reply, replies) = oneshot::channel();
        lane.queue.push_back(QueuedCall { transactions, reply });
        Err(replies)
    }

    /// Returns the next batch for a slot whose call has returned. If the queue is empty, frees the slot and returns
    /// `None`.
    fn next_batch(&self, lane: &Scope) -> Option<Vec<QueuedCall>> {
        let Entry::Occupied(mut lane) = self.0.entry(lane.clone()) else { return None };
        let batch = lane.get_mut().next_batch();
        if !batch.is_empty() {
            return Some(batch);
        }
        lane.get_mut().in_flight -= 1;
        if lane.get().in_flight == 0 {
            lane.remove();
        }
        None
    }
}

impl Lane {
    /// Takes the next batch from the queue. Leaves out callers that went away: nothing of theirs was sent.
    fn next_batch(&mut self) -> Vec<QueuedCall> {
        let mut batch = Vec::new();
        let mut room = BATCH_LIMIT;
        while let Some(first) = self.queue.pop_front() {
            if first.reply.is_closed() {
                continue;
            }
            // A caller whose transactions exceed the limit is sent alone.
            if first.transactions.len() > room && !batch.is_empty() {
                self.queue.push_front(first);
                break;
            }
            room = room.saturating_sub(first.transactions.len());
            batch.push(first);
        }
        batch
    }
}

impl LaneSlot {
    /// Returns the next batch, or frees the slot if the queue is empty.
    fn next_batch(&mut self) -> Option<Vec<QueuedCall>> {
        let batch = self.lanes.lanes.next_batch(&self.lane);
        self.released = batch.is_none();
        batch
    }

    /// Sends this batch, and then others until the queue is empty.
    async fn run_queue(mut self, mut batch: Vec<QueuedCall>) {
        loop {
            let transactions = batch.iter().flat_map(|queued| &queued.transactions);
            let replies = self.lanes.caller.call(transactions).await;
            distribute(batch, replies);
            match self.next_batch() {
                Some(next) => batch = next,
                None => return,
            }
        }
    }
}

impl Drop for LaneSlot {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        if let Some(batch) = self.next_batch() {
            let slot = Self { lanes: Arc::clone(&self.lanes), lane: self.lane.clone(), released: false };
            // Without a runtime the process is ending; queued callers get an error when the batch is dropped.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(slot.run_queue(batch));
            }
        }
    }
}

/// Gives each caller its share of the replies, or all of them the error.
fn distribute(batch: Vec<QueuedCall>, replies: BatchReplies) {
    let mut replies = replies.map(Vec::into_iter);
    for queued in batch {
        let count = queued.transactions.len();
        let share = match &mut replies {
            Ok(replies) => Ok(replies.by_ref().take(count).collect()),
            Err(error) => Err(StoreError::clone(error)),
        };
        // Sending fails if the caller went away meanwhile.
        let _ = queued.reply.send(share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> Vec<Transaction> {
        vec![Transaction::on(Scope::new("team")); count]
    }

    /// The first calls are sent at once and the others in batches; the lane is removed with its last call.
    #[test]
    fn free_slots_come_first_and_the_queue_is_batched() {
        let (lanes, scope) = (LaneMap::default(), Scope::new("team"));
        for _ in 0..MAX_IN_FLIGHT {
            assert!(lanes.enter(&scope, batch(1)).is_ok());
        }
        let mut queued: Vec<_> = (0..BATCH_LIMIT + 2).map(|_| lanes.enter(&scope, batch(1)).unwrap_err()).collect();
        drop(queued.remove(0));
        let next_size = |lanes: &LaneMap| lanes.next_batch(&scope).map(|batch| batch.len());
        assert_eq!(next_size(&lanes), Some(BATCH_LIMIT), "a caller that went away takes no room in the batch");
        assert_eq!(next_size(&lanes), Some(1));
        assert_eq!(lanes.0.len(), 1);
        for _ in 0..MAX_IN_FLIGHT {
            assert_eq!(next_size(&lanes), None);
        }
        assert!(lanes.0.is_empty());
    }

    #[test]
    fn a_call_above_the_batch_limit_is_sent_alone() {
        let (lanes, scope) = (LaneMap::default(), Scope::new("team"));
        for _ in 0..MAX_IN_FLIGHT {
            assert!(lanes.enter(&scope, batch(1)).is_ok());
        }
        let _queued = [1, BATCH_LIMIT + 1, 1].map(|count| lanes.enter(&scope, batch(count)).unwrap_err());
        for expected in [1, BATCH_LIMIT + 1, 1] {
            let next = lanes.next_batch(&scope).unwrap();
            assert_eq!(next.iter().map(|queued| queued.transactions.len()).sum::<usize>(), expected);
        }
    }
}
