//! Runs each call on the task of its connection, as far as it gets without waiting.
//!
//! A task for each call would cost more than most calls do: it is allocated and queued, the runtime wakes another thread for it,
//! and its response wakes the connection's task again.
//!
//! A call that has to wait continues in one of two ways:
//!
//! - If no other call of the connection is in flight, it stays with the connection's task ([`super::connection_task`]). A task
//!   of its own would cost about 30 µs: the call has just woken another task, such as the Redis client's, so the runtime would
//!   have two tasks to run and would wake another thread for one of them.
//! - Otherwise it becomes a task of its own. The other thread then has work to share: it continues this call while the
//!   connection's task reads the next ones.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Waker},
};

use hyper::rt::Executor;

use super::connection_task::WaitingCall;
use crate::serve::connections::ConnectionState;

/// The executor of one connection's calls.
#[derive(Clone, Debug)]
pub(in crate::serve) struct InlineExecutor {
    connection: Arc<ConnectionState>,
    waiting: WaitingCall,
}

impl InlineExecutor {
    pub(super) fn new(connection: Arc<ConnectionState>, waiting: WaitingCall) -> Self {
        Self { connection, waiting }
    }
}

impl<Call> Executor<Call> for InlineExecutor
where
    Call: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: Call) {
        let is_alone = !self.connection.has_calls();
        // A call that becomes a task is polled again at once, so nothing has to wake it before.
        let waker = if is_alone { self.waiting.waker() } else { Waker::noop() };
        let mut call = Box::pin(call);
        // A panic ends this call only, as it would in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut Context::from_waker(waker))));
        match polled {
            Ok(polled) if polled.is_ready() => {}
            Ok(_) if is_alone => self.waiting.keep(call),
            Ok(_) => drop(tokio::spawn(call)),
            Err(_panic) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::{super::connection_task::ConnectionTask, *};
    use crate::{clock::Clock, serve::connections::Protocol};

    fn executor() -> InlineExecutor {
        let connection = Arc::new(ConnectionState::new(CancellationToken::new(), Clock::System, Protocol::Http2));
        InlineExecutor::new(connection, WaitingCall::default())
    }

    /// A connection that never ends, which drives the call that waits on its task.
    fn connection(executor: &InlineExecutor) -> ConnectionTask<std::future::Pending<()>> {
        ConnectionTask::new(std::future::pending(), executor.waiting.clone())
    }

    #[tokio::test]
    async fn a_call_runs_at_once_and_what_waits_goes_on_later() {
        let executor = executor();
        let (done, mut is_done) = oneshot::channel();
        executor.execute(async { done.send(()).unwrap() });
        assert_eq!(is_done.try_recv(), Ok(()));

        let (begin, begun) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        executor.execute(async {
            begun.await.unwrap();
            done.send(()).unwrap();
        });
        begin.send(()).unwrap();
        tokio::select! {
            is_done = is_done => assert_eq!(is_done, Ok(())),
            () = connection(&executor) => {}
        }
    }

    /// A call that waits becomes a task only while others are in flight; otherwise it stays on the task of its connection.
    #[tokio::test]
    async fn a_waiting_call_becomes_a_task_only_beside_others() {
        let executor = executor();
        let becomes_a_task = async || {
            let (begin, begun) = oneshot::channel::<()>();
            let (done, is_done) = oneshot::channel();
            executor.execute(async {
                begun.await.unwrap();
                done.send(tokio::task::try_id()).unwrap();
            });
            begin.send(()).unwrap();
            // This test runs in no task, so neither does a call on the connection's task.
            tokio::select! {
                task = is_done => task.unwrap().is_some(),
                () = connection(&executor) => unreachable!("the connection never ends"),
            }
        };
        assert!(!becomes_a_task().await);
        let other = executor.connection.begin_call();
        assert!(becomes_a_task().await);
        drop(other);
        assert!(!becomes_a_task().await);
    }

    #[tokio::test]
    async fn a_panic_ends_one_call_only() {
        let executor = executor();
        let (kept, is_kept) = oneshot::channel::<()>();
        executor.execute(async {
            let _kept = kept;
            panic!("this is part of a test");
        });
        assert!(is_kept.await.is_err(), "the call's values are dropped");

        let (kept, is_kept) = oneshot::channel::<()>();
        let (begin, begun) = oneshot::channel::<()>();
        executor.execute(async {
            let _kept = kept;
            begun.await.unwrap();
            panic!("this is part of a test");
        });
        begin.send(()).unwrap();
        tokio::select! {
            is_kept = is_kept => assert!(is_kept.is_err(), "the values of a call that waited are dropped"),
            () = connection(&executor) => unreachable!("the connection outlives the call"),
        }
    }
}
