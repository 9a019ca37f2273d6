//! The fast path: QuotaService's calls without tonic's router and codec, on the task of their connection.

mod call_memory;
mod inline_executor;
mod method;
mod self_wakes;
mod unary_request;

pub(super) use self::{
    call_memory::CallMemory,
    inline_executor::InlineExecutor,
    method::{QuotaMethod, answer},
    self_wakes::SelfWaking,
    unary_request::{UnaryRequest, next_frame},
};
