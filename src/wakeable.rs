//! What a future may ask of whoever polls it: to be able to wake him.
//!
//! A call is polled once with a waker that wakes nobody, to see how far it gets without waiting; what is left then becomes a task
//! (`serve::at_once`). If it is alone and has asked another task for something before, the runtime has two tasks to run after the one
//! that it is in, and wakes another thread for one of them: some 30 µs, for a call that has only to be sent.

use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// Waits until it is polled by somebody who can be woken. To be awaited before another task is asked for something.
///
/// A waker that cannot be recognized is taken for one that wakes: then only time is lost.
pub(crate) async fn when_wakeable() {
    poll_fn(|context| if context.waker().will_wake(Waker::noop()) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Wake},
    };

    use super::*;

    struct Woken;

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn it_waits_for_somebody_who_can_be_woken() {
        let mut waiting = pin!(when_wakeable());
        let nobody = &mut Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(nobody).is_pending() && waiting.as_mut().poll(nobody).is_pending());
        let somebody = Waker::from(Arc::new(Woken));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&somebody)).is_ready());
    }
}
