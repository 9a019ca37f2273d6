//! A future that wakes itself while it is polled is polled again at once. The runtime would put its task at the end of the
//! queue, and wake another thread that might take it from there: more work than most calls are.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Nobody polls it: a wake is passed on.
const RESTING: u8 = 0;
/// It is polled: a wake is noted.
const POLLED: u8 = 1;
/// It was woken while it was polled.
const WOKEN: u8 = 2;

/// So often it is polled in one turn; then others have theirs.
const POLLS_IN_A_TURN: u32 = 8;

/// A future that is polled again at once where it woke itself.
pub(in crate::serve) struct SelfWaking<Inner> {
    inner: Inner,
    wakes: Arc<Wakes>,
    waker: Waker,
}

struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<Inner> SelfWaking<Inner> {
    pub(in crate::serve) fn new(inner: Inner) -> Self {
        let wakes = Arc::new(Wakes { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
        Self { inner, waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// The future itself.
    pub(in crate::serve) fn inner(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(RESTING) {
            self.task.wake();
        }
    }
}

impl<Inner: Future + Unpin> Future for SelfWaking<Inner> {
    type Output = Inner::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { inner, wakes, waker } = &mut *self;
        // Before it is polled, so that a wake finds the task as soon as it is not noted any more.
        wakes.task.register(context.waker());
        for _ in 0..POLLS_IN_A_TURN {
            wakes.state.store(POLLED, Ordering::Release);
            let polled = Pin::new(&mut *inner).poll(&mut Context::from_waker(waker));
            let was_woken = wakes.state.swap(RESTING, Ordering::AcqRel) == WOKEN;
            if polled.is_ready() || !was_woken {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls, once, a future that wakes itself so often: how often it was polled, and how often its task was woken.
    fn polled_once(wakes_itself: usize) -> (usize, usize) {
        let (mut polls, woken) = (0, Arc::new(Woken::default()));
        let future = poll_fn(|context| {
            polls += 1;
            if polls <= wakes_itself {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut future = SelfWaking::new(future);
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker(Arc::clone(&woken)))).is_pending());
        drop(future);
        (polls, woken.0.load(Ordering::SeqCst))
    }

    #[test]
    fn what_wakes_itself_is_polled_again_at_once_and_lets_others_have_their_turn() {
        assert_eq!(polled_once(0), (1, 0));
        assert_eq!(polled_once(3), (4, 0));
        assert_eq!(polled_once(1_000), (8, 1), "the task is woken, for there is more to do");
    }

    #[test]
    fn whoever_wakes_it_while_it_rests_wakes_its_task() {
        let (mut kept, woken) = (None, Arc::new(Woken::default()));
        let mut future = SelfWaking::new(poll_fn(|context| {
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker(Arc::clone(&woken)))).is_pending());
        drop(future);
        kept.unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}
