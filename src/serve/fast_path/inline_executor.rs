//! What carries calls out: each at once, on the task of its connection, as far as it gets without waiting; only what has to
//! wait becomes a task of its own.
//!
//! Most calls are answered from memory within microseconds. A task for each costs more than that: it is allocated, put into
//! a queue, another thread is woken for it, and its answer wakes the connection's task again. What is to ask another task for
//! something waits to be wakeable first (`crate::wakeable`), if it is alone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Waker},
};

use futures::task::noop_waker_ref;
use hyper::rt::Executor;

use crate::serve::connections::ConnectionState;

/// Carries out the calls of a connection.
#[derive(Clone, Debug)]
pub(in crate::serve) struct InlineExecutor {
    vitals: Arc<ConnectionState>,
}

impl InlineExecutor {
    pub(in crate::serve) fn of(vitals: Arc<ConnectionState>) -> Self {
        Self { vitals }
    }
}

impl<Call> Executor<Call> for InlineExecutor
where
    Call: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: Call) {
        let mut call = Box::pin(call);
        // Nobody wakes it until it is polled again, which its task does first of all. If others are under way it does not wait for that:
        // while this thread goes on with them, another one may well take what it asks for.
        let nobody = if self.vitals.has_calls() { noop_waker_ref() } else { Waker::noop() };
        let mut context = Context::from_waker(nobody);
        // Whatever breaks in a call is the end of this call only, as it would be in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut context)));
        if polled.is_ok_and(|polled| polled.is_pending()) {
            tokio::spawn(call);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{clock::Clock, serve::calls::CallSlots, wakeable::when_wakeable};

    fn at_once() -> InlineExecutor {
        InlineExecutor::of(Arc::new(ConnectionState::new(CancellationToken::new(), Clock::System)))
    }

    #[tokio::test]
    async fn what_need_not_wait_is_done_at_once_and_the_rest_when_its_time_comes() {
        let (done, mut is_done) = oneshot::channel();
        at_once().execute(async { done.send(()).unwrap() });
        assert_eq!(is_done.try_recv(), Ok(()));

        let (begin, begun) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        at_once().execute(async {
            begun.await.unwrap();
            done.send(()).unwrap();
        });
        begin.send(()).unwrap();
        assert_eq!(is_done.await, Ok(()));
    }

    #[tokio::test]
    async fn what_waits_to_be_wakeable_goes_on_in_a_task_of_its_own_unless_others_are_under_way() {
        let at_once = at_once();
        let is_in_a_task = async || {
            let (done, is_done) = oneshot::channel();
            at_once.execute(async {
                when_wakeable().await;
                done.send(tokio::task::try_id()).unwrap();
            });
            // This test is in none.
            is_done.await.unwrap().is_some()
        };
        assert!(is_in_a_task().await);
        let other = at_once.vitals.begin_call(CallSlots::of(1).enter().unwrap());
        assert!(!is_in_a_task().await);
        drop(other);
        assert!(is_in_a_task().await);
    }

    #[tokio::test]
    async fn what_breaks_is_the_end_of_one_call_only() {
        let (kept, is_kept) = oneshot::channel::<()>();
        at_once().execute(async {
            let _kept = kept;
            panic!("this is part of a test");
        });
        assert!(is_kept.await.is_err(), "what the call had is let go");
    }
}
