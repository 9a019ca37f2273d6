//! Where the calls of a connection are worked on. What a call may need on its way is many kilobytes, and mostly none of it is
//! used: so the memory that one call leaves behind is the next one's.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio_util::sync::ReusableBoxFuture;
use tonic::Status;

/// What a call comes to: a message with its prefix.
type FramedResponse = Result<Bytes, Status>;

/// Where a call was worked on last, for the next one.
#[derive(Default)]
pub(in crate::serve) struct CallMemory {
    left: Mutex<Option<ReusableBoxFuture<'static, FramedResponse>>>,
}

/// A call that is worked on.
pub(in crate::serve) struct StoredCall(ReusableBoxFuture<'static, FramedResponse>);

impl CallMemory {
    /// A place with this call in it.
    pub(in crate::serve) fn with(&self, call: impl Future<Output = FramedResponse> + Send + 'static) -> StoredCall {
        let left = self.left().take();
        StoredCall(match left {
            Some(mut place) => {
                place.set(call);
                place
            }
            None => ReusableBoxFuture::new(call),
        })
    }

    /// Takes a place back whose call has ended, and so has left nothing in it.
    pub(in crate::serve) fn take_back(&self, work: StoredCall) {
        *self.left() = Some(work.0);
    }

    /// Nothing that holds the lock can panic.
    fn left(&self) -> MutexGuard<'_, Option<ReusableBoxFuture<'static, FramedResponse>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoredCall {
    /// The call itself.
    pub(in crate::serve) fn future(&mut self) -> Pin<&mut (dyn Future<Output = FramedResponse> + Send)> {
        self.0.get_pin()
    }
}
