//! The data listener by itself, for a QuotaService of any making: what a benchmark holds a sidecar against.
//!
//! It is put together from the same parts as a sidecar's, so that what differs between the two is the service and nothing else.

use tokio_util::sync::CancellationToken;
use tonic_health::server::health_reporter;

use super::{ListenAddress, StartError, listener::Listener, services};
use crate::{
    proto::v1::quota_service_server::{QuotaService, QuotaServiceServer},
    service::MAX_REQUEST_BYTES,
};

/// A bound data listener that has a QuotaService and no gate.
#[derive(Debug)]
pub struct DataListener<S> {
    listener: Listener,
    quota: S,
}

impl<S: QuotaService> DataListener<S> {
    /// Binds a listener for this service.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(address: &ListenAddress, quota: S) -> Result<Self, StartError> {
        Ok(Self { listener: Listener::bind(address).await?, quota })
    }

    /// Where it listens: with the port that was bound, if any port would do.
    pub fn address(&self) -> &ListenAddress {
        self.listener.address()
    }

    /// Serves as a sidecar does by default, until it is dropped.
    ///
    /// # Errors
    /// If the compiled contract cannot be described to clients.
    pub async fn serve(self) -> Result<(), StartError> {
        let everything = CancellationToken::new();
        let _end = everything.clone().drop_guard();
        let listening = services::Listening { accepting: everything.child_token(), everything: everything.clone() };
        let (_health, health_server) = health_reporter();
        let quota = QuotaServiceServer::new(self.quota).max_decoding_message_size(MAX_REQUEST_BYTES);
        let routes = services::data_of(quota, health_server)?;
        listening.serve(routes, self.listener).await;
        Ok(())
    }
}
