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

pub use self::{
    account::AccountApi,
    caller::{AllowedTeams, Caller},
    encode::rate_card as rate_card_message,
    quota::QuotaApi,
    usage::UsageApi,
};
use crate::{
    gate::Gate,
    proto::v1::{
        account_service_server::AccountServiceServer, quota_service_server::QuotaServiceServer,
        usage_service_server::UsageServiceServer,
    },
};

/// QuotaService, for flow executors. A request of more than so many bytes is not read.
pub fn quota(gate: Arc<Gate>, max_message_bytes: usize) -> QuotaServiceServer<QuotaApi> {
    QuotaServiceServer::new(QuotaApi::new(gate)).max_decoding_message_size(max_message_bytes)
}

/// AccountService, for billing and operators.
pub fn account(gate: Arc<Gate>, max_message_bytes: usize) -> AccountServiceServer<AccountApi> {
    AccountServiceServer::new(AccountApi::new(gate)).max_decoding_message_size(max_message_bytes)
}

/// UsageService, for billing and operators.
pub fn usage(gate: Arc<Gate>, max_message_bytes: usize) -> UsageServiceServer<UsageApi> {
    UsageServiceServer::new(UsageApi::new(gate)).max_decoding_message_size(max_message_bytes)
}
