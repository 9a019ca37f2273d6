//! CallContext: one call from its headers to the last byte of its response.

mod call_observer;
mod call_slots;
mod handler;
mod request_progress;
mod response_body;

#[cfg(test)]
pub(super) use self::call_slots::CallSlots;
pub(super) use self::{
    call_slots::CallSlot,
    handler::{CallContext, CallHandler},
};
