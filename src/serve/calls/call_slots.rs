//! CallSlots for so many at once. Who finds none is told so at once, so nobody waits for it, and a count is all that it takes.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// CallSlots for so many at once.
#[derive(Debug)]
pub(in crate::serve) struct CallSlots {
    free: AtomicU32,
}

/// One of its places, until it is dropped.
#[derive(Debug)]
pub(in crate::serve) struct CallSlot {
    room: Arc<CallSlots>,
}

impl CallSlots {
    pub(in crate::serve) fn of(places: u32) -> Arc<Self> {
        Arc::new(Self { free: AtomicU32::new(places) })
    }

    /// A place, if there is one free.
    pub(in crate::serve) fn enter(self: &Arc<Self>) -> Option<CallSlot> {
        let one_less = |free: u32| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok()?;
        Some(CallSlot { room: Arc::clone(self) })
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.room.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_left() {
        let room = CallSlots::of(2);
        let (first, second) = (room.enter(), room.enter());
        assert!(first.is_some() && second.is_some() && room.enter().is_none());
        drop(first);
        assert!(room.enter().is_some_and(|place| room.enter().is_none() && Arc::ptr_eq(&place.room, &room)));
    }
}
