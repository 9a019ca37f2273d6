//! The gRPC services: decode and validate requests, ask the gate, and encode its answers.
//!
//! This is the only module that knows both the contract's messages and gRPC's status codes. It must not know any rule about
//! credits, nor any store.

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

/// Returns QuotaService, for flow executors. A request of more than `max_message_bytes` is refused without being read.
pub fn quota(gate: Arc<Gate>, max_message_bytes: usize) -> QuotaServiceServer<QuotaApi> {
    QuotaServiceServer::new(QuotaApi::new(gate)).max_decoding_message_size(max_message_bytes)
}

/// Returns AccountService, for billing and operators.
pub fn account(gate: Arc<Gate>, max_message_bytes: usize) -> AccountServiceServer<AccountApi> {
    AccountServiceServer::new(AccountApi::new(gate)).max_decoding_message_size(max_message_bytes)
}

/// Returns UsageService, for billing and operators.
pub fn usage(gate: Arc<Gate>, max_message_bytes: usize) -> UsageServiceServer<UsageApi> {
    UsageServiceServer::new(UsageApi::new(gate)).max_decoding_message_size(max_message_bytes)
}
