//! Calls: each call from its headers to the last byte of its response.
//!
//! This module decides whether a call is admitted and how long it may take, and answers it on the fast path or with tonic. It
//! must not know what a method does.

mod call_context;
mod call_kind;
mod call_observer;
mod call_slots;
mod handler;
mod request_progress;
mod response_body;

pub(super) use self::{call_context::CallContext, handler::CallHandler};
