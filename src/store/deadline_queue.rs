//! How long a call waits for its answer: all calls to a store have the same bound, and share one timer.
//!
//! A timer for each call is set and taken back thousands of times a second, and whoever sets one that is the next to be due
//! wakes the thread that sleeps until then. This one is set some times a second, whatever is called.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::clock::Clock;

/// The bound of the calls to one store.
pub(super) struct DeadlineQueue {
    wait: Duration,
    line: Arc<Mutex<Line>>,
}

/// A call had no answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} ms", .0.as_millis())]
pub(super) struct Late(Duration);

/// Who waits, the first to be told first: that is the order in which they came, as all wait equally long.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(i64, oneshot::Sender<()>)>,
    /// Whether somebody sleeps until the first is to be told.
    kept: bool,
}

impl DeadlineQueue {
    pub(super) fn of(wait: Duration) -> Self {
        Self { wait, line: Arc::default() }
    }

    /// What comes of it, unless that takes too long.
    pub(super) async fn bounded<T>(&self, answer: impl Future<Output = T>) -> Result<T, Late> {
        let mut answer = pin!(answer);
        let late = self.told_when_late();
        tokio::select! {
            biased;
            answer = &mut answer => Ok(answer),
            _ = late => Err(Late(self.wait)),
        }
    }

    /// It ends when the bound is reached.
    fn told_when_late(&self) -> oneshot::Receiver<()> {
        let wait_ms = i64::try_from(self.wait.as_millis()).unwrap_or(i64::MAX);
        let due_ms = Clock::System.monotonic_ms().saturating_add(wait_ms);
        let (tell, told) = oneshot::channel();
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.drop_answered();
        line.waiting.push_back((due_ms, tell));
        if !std::mem::replace(&mut line.kept, true) {
            tokio::spawn(keep(Arc::clone(&self.line)));
        }
        told
    }
}

impl Line {
    /// Those who got their answer leave from the front, so that the line is about as long as there are calls on their way.
    fn drop_answered(&mut self) {
        while self.waiting.front().is_some_and(|(_, tell)| tell.is_closed()) {
            self.waiting.pop_front();
        }
    }

    /// Tells all who are due; the milliseconds until the next is, if somebody waits.
    fn tell_due(&mut self) -> Option<u64> {
        let now_ms = Clock::System.monotonic_ms();
        loop {
            self.drop_answered();
            let (due_ms, _) = self.waiting.front()?;
            if *due_ms > now_ms {
                return Some(due_ms.abs_diff(now_ms));
            }
            if let Some((_, tell)) = self.waiting.pop_front() {
                // Whoever has just got an answer does not listen.
                let _ = tell.send(());
            }
        }
    }
}

/// Tells those who wait when they are due, until nobody waits.
async fn keep(line: Arc<Mutex<Line>>) {
    loop {
        let pause_ms = {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            let pause_ms = line.tell_due();
            line.kept = pause_ms.is_some();
            pause_ms
        };
        let Some(pause_ms) = pause_ms else { return };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn each_call_has_its_own_bound_and_those_who_are_answered_leave_no_trace() {
        let wait = Duration::from_millis(60);
        let deadlines = DeadlineQueue::of(wait);
        let begun_ms = Clock::System.monotonic_ms();
        let late = async |after_ms| {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            let begun_ms = Clock::System.monotonic_ms();
            assert!(deadlines.bounded(pending::<()>()).await.is_err());
            Clock::System.monotonic_ms() - begun_ms
        };
        let waited_ms: [i64; 3] = tokio::join!(late(0), late(20), late(40)).into();
        assert!(waited_ms.iter().all(|waited_ms| *waited_ms >= 59), "{waited_ms:?}");
        assert!(Clock::System.monotonic_ms() - begun_ms < 10_000);
        for _ in 0..1_000 {
            assert_eq!(deadlines.bounded(ready(7)).await.unwrap(), 7);
        }
        assert!(deadlines.line.lock().unwrap().waiting.len() <= 1);
    }
}
