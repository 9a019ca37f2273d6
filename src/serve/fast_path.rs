//! The fast path: QuotaService's calls without tonic's router and codec, on the task of their connection.

mod call_memory;
mod inline_executor;
mod method;
mod self_wakes;
mod unary_request;

pub(super) use self::{
    call_memory::Workplace,
    inline_executor::AtOnce,
    method::{QuotaMethod, answer},
    self_wakes::OwnWakes,
    unary_request::{Question, next_frame},
};
