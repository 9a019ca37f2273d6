//! The memory that a call's future runs in. The future is kilobytes large, although most calls use little of it. So the memory of
//! a completed call is used again for the next call of the connection.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio_util::sync::ReusableBoxFuture;
use tonic::Status;

/// A response message with its gRPC prefix, or the error.
type FramedResponse = Result<Bytes, Status>;

/// The memory that the last call of a connection left behind.
#[derive(Default)]
pub(super) struct CallMemory {
    free: Mutex<Option<ReusableBoxFuture<'static, FramedResponse>>>,
}

/// A call's future in its memory.
pub(super) struct RunningCall(ReusableBoxFuture<'static, FramedResponse>);

impl CallMemory {
    /// Moves a call's future into the free memory, or into new memory if none is free.
    pub(super) fn hold(&self, call: impl Future<Output = FramedResponse> + Send + 'static) -> RunningCall {
        let free = self.lock().take();
        RunningCall(match free {
            Some(mut memory) => {
                memory.set(call);
                memory
            }
            None => ReusableBoxFuture::new(call),
        })
    }

    /// Takes the memory back from a call that has completed, and so holds nothing in it any more.
    pub(super) fn reuse(&self, completed: RunningCall) {
        *self.lock() = Some(completed.0);
    }

    /// Nothing that holds the lock can panic.
    fn lock(&self) -> MutexGuard<'_, Option<ReusableBoxFuture<'static, FramedResponse>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningCall {
    /// Returns the call's future.
    pub(super) fn future(&mut self) -> Pin<&mut (dyn Future<Output = FramedResponse> + Send)> {
        self.0.get_pin()
    }
}
