//! The gRPC edge: decodes and validates requests, asks the gate, encodes its answers.
//!
//! The one place that knows both the contract's messages and the status codes of gRPC. It must know no rule of the product
//! and nothing of stores.

mod account;
mod caller;
mod decode;
mod encode;
mod log;
mod quota;
mod status;
mod usage;

use std::sync::Arc;

pub use self::{account::AccountApi, caller::Caller, quota::QuotaApi, usage::UsageApi};
use crate::{
    gate::Gate,
    proto::v1::{
        account_service_server::AccountServiceServer, quota_service_server::QuotaServiceServer,
        usage_service_server::UsageServiceServer,
    },
};

/// The largest request that is read, in bytes: far above any request the contract allows, but for a rate card of hundreds
/// of models.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// QuotaService, for flow executors.
pub fn quota(gate: Arc<Gate>) -> QuotaServiceServer<QuotaApi> {
    QuotaServiceServer::new(QuotaApi::new(gate)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

/// AccountService, for billing and operators.
pub fn account(gate: Arc<Gate>) -> AccountServiceServer<AccountApi> {
    AccountServiceServer::new(AccountApi::new(gate)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

/// UsageService, for billing and operators.
pub fn usage(gate: Arc<Gate>) -> UsageServiceServer<UsageApi> {
    UsageServiceServer::new(UsageApi::new(gate)).max_decoding_message_size(MAX_REQUEST_BYTES)
}
