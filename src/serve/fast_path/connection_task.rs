//! The task of a connection. It drives the connection itself and at most one call that waits.
//!
//! A connection whose future wakes itself while it is polled is polled again at once. The runtime would put its task at the end
//! of the queue and wake another thread that might take it from there: more work than most calls are.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::{future::BoxFuture, task::AtomicWaker};

/// The task is not being polled: a wake is passed on to the runtime.
const IDLE: u8 = 0;
/// The task is being polled: a wake is recorded.
const POLLED: u8 = 1;
/// The task was woken while it was polled.
const WOKEN: u8 = 2;

/// Maximum number of polls in one turn. After that, other tasks have their turn.
const MAX_POLLS_PER_TURN: u32 = 8;

/// A connection together with the call that waits on its task.
pub(in crate::serve) struct ConnectionTask<Connection> {
    connection: Connection,
    waiting: WaitingCall,
}

/// The call that waits on the task of its connection, if there is one, and the waker of that task.
#[derive(Clone)]
pub(super) struct WaitingCall {
    call: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// Wakes of a task, which are recorded while it is polled.
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(IDLE) {
            self.task.wake();
        }
    }
}

impl Default for WaitingCall {
    fn default() -> Self {
        let wakes = Arc::new(Wakes { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Self { call: Arc::default(), waker: Waker::from(Arc::clone(&wakes)), wakes }
    }
}

impl WaitingCall {
    /// Returns the waker of the connection's task.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Keeps a call until it completes. A call that is kept already becomes a task of its own: it is a stream, such as a watch of
    /// the health, that stays open for as long as its client likes.
    pub(super) fn keep(&self, call: BoxFuture<'static, ()>) {
        if let Some(stream) = self.lock().replace(call) {
            tokio::spawn(stream);
        }
    }

    fn poll(&self, context: &mut Context<'_>) {
        let Some(mut call) = self.lock().take() else { return };
        // A panic ends this call only, as it would in a task.
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        if polled.is_ok_and(|polled| polled.is_pending()) {
            self.keep(call);
        }
    }

    /// Nothing that holds the lock can panic.
    fn lock(&self) -> MutexGuard<'_, Option<BoxFuture<'static, ()>>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WaitingCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WaitingCall").finish_non_exhaustive()
    }
}

impl<Connection> ConnectionTask<Connection> {
    pub(super) fn new(connection: Connection, waiting: WaitingCall) -> Self {
        Self { connection, waiting }
    }

    /// Returns the connection itself.
    pub(in crate::serve) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl<Connection: Future + Unpin> Future for ConnectionTask<Connection> {
    type Output = Connection::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { connection, waiting } = &mut *self;
        let WaitingCall { wakes, waker, .. } = &*waiting;
        // Registered before the poll, so that a wake reaches the task as soon as it is not recorded any more.
        wakes.task.register(context.waker());
        let inner = &mut Context::from_waker(waker);
        for _ in 0..MAX_POLLS_PER_TURN {
            wakes.state.store(POLLED, Ordering::Release);
            // The call comes first, so that its response is sent by the same poll of the connection.
            waiting.poll(inner);
            let polled = Pin::new(&mut *connection).poll(inner);
            let was_woken = wakes.state.swap(IDLE, Ordering::AcqRel) == WOKEN;
            if polled.is_ready() {
                // The last bytes may have completed the message of a call. A commit then still begins, and is carried out
                // although its client is gone.
                waiting.poll(inner);
                return polled;
            }
            if !was_woken {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<Connection> Drop for ConnectionTask<Connection> {
    fn drop(&mut self) {
        // The call holds its connection's handler, which holds this place of the call: a cycle that would never be freed.
        let call = self.waiting.lock().take();
        drop(call);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use futures::task::{ArcWake, waker};
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task<Connection>(connection: Connection) -> ConnectionTask<Connection> {
        ConnectionTask::new(connection, WaitingCall::default())
    }

    /// Polls a future once that wakes itself this many times. Returns how often it was polled, and how often its task was woken.
    fn polled_once(self_wakes: usize) -> (usize, usize) {
        let (mut polls, woken) = (0, Arc::new(Woken::default()));
        let future = poll_fn(|context| {
            polls += 1;
            if polls <= self_wakes {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut future = task(future);
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker(Arc::clone(&woken)))).is_pending());
        drop(future);
        (polls, woken.0.load(Ordering::SeqCst))
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_at_most_8_times() {
        assert_eq!(polled_once(0), (1, 0));
        assert_eq!(polled_once(3), (4, 0));
        assert_eq!(polled_once(1_000), (8, 1), "the task is woken, because there is more to do");
    }

    #[test]
    fn a_wake_from_elsewhere_wakes_the_task() {
        let (mut kept, woken) = (None, Arc::new(Woken::default()));
        let mut future = task(poll_fn(|context| {
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker(Arc::clone(&woken)))).is_pending());
        drop(future);
        kept.unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    /// The message of a call may arrive in the same poll in which its connection ends.
    #[test]
    fn a_waiting_call_is_polled_after_its_connection_ended() {
        let waiting = WaitingCall::default();
        let (arrived, message) = oneshot::channel();
        let (begun, mut is_begun) = oneshot::channel();
        waiting.keep(Box::pin(async move {
            message.await.unwrap();
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        }));
        let mut arrived = Some(arrived);
        let mut task = ConnectionTask::new(
            poll_fn(move |_| {
                arrived.take().unwrap().send(()).unwrap();
                Poll::Ready(())
            }),
            waiting,
        );
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(is_begun.try_recv(), Ok(()), "the call saw its message");
    }

    #[test]
    fn a_waiting_call_is_dropped_with_its_connection() {
        let waiting = WaitingCall::default();
        let kept = Arc::new(());
        let (held, executor) = (Arc::clone(&kept), waiting.clone());
        waiting.keep(Box::pin(async move {
            let _held = (held, executor);
            std::future::pending::<()>().await;
        }));
        let task = ConnectionTask::new(std::future::pending::<()>(), waiting);
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(task);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
