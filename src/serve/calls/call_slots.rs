//! A limit of calls in flight. A call that finds no free slot is refused at once instead of queued, so a counter is enough.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// A fixed number of slots for calls.
#[derive(Debug)]
pub(super) struct CallSlots {
    free: AtomicU32,
}

/// A slot that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct CallSlot {
    slots: Arc<CallSlots>,
}

impl CallSlots {
    pub(super) fn of(count: u32) -> Arc<Self> {
        Arc::new(Self { free: AtomicU32::new(count) })
    }

    /// Takes a slot, or returns `None` if none is free.
    pub(super) fn enter(self: &Arc<Self>) -> Option<CallSlot> {
        let one_less = |free: u32| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()?;
        Some(CallSlot { slots: Arc::clone(self) })
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.slots.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = CallSlots::of(2);
        let (first, second) = (slots.enter(), slots.enter());
        assert!(first.is_some() && second.is_some() && slots.enter().is_none());
        drop(first);
        assert!(slots.enter().is_some_and(|slot| slots.enter().is_none() && Arc::ptr_eq(&slot.slots, &slots)));
    }
}
