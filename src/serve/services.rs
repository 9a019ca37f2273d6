//! Which services are on which listener.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::{
    pb::{v1, v1alpha},
    server::{Builder, Error},
};

use super::listener::Listener;
use crate::{
    gate::Gate,
    proto::{
        DESCRIPTORS,
        v1::{
            account_service_server::AccountServiceServer, quota_service_server::QuotaServiceServer,
            usage_service_server::UsageServiceServer,
        },
    },
    service::{self, AccountApi, QuotaApi, UsageApi},
};

/// The services of the data listener whose health is told.
pub(super) const ON_DATA: &[&str] = &[<QuotaServiceServer<QuotaApi> as NamedService>::NAME];

/// The services of the admin listener whose health is told.
pub(super) const ON_ADMIN: &[&str] =
    &[<AccountServiceServer<AccountApi> as NamedService>::NAME, <UsageServiceServer<UsageApi> as NamedService>::NAME];

/// What every listener has besides.
const EVERYWHERE: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// A silent connection is asked this often whether its client is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How many calls one connection may have in flight.
const MAX_CONCURRENT_CALLS: u32 = 1_024;

/// The services of the data listener.
pub(super) fn data(gate: &Arc<Gate>, health: HealthServer<impl Health>) -> Result<Routes, Error> {
    let mut routes = everywhere(ON_DATA, health)?;
    routes.add_service(service::quota(Arc::clone(gate)));
    Ok(routes.routes())
}

/// The services of the admin listener.
pub(super) fn admin(gate: &Arc<Gate>, health: HealthServer<impl Health>) -> Result<Routes, Error> {
    let mut routes = everywhere(ON_ADMIN, health)?;
    routes.add_service(service::account(Arc::clone(gate))).add_service(service::usage(Arc::clone(gate)));
    Ok(routes.routes())
}

/// How a listener is served, and what ends it.
pub(super) struct Listening {
    /// Ends accepting; calls in flight finish.
    pub(super) accepting: CancellationToken,
    /// Ends every connection.
    pub(super) everything: CancellationToken,
}

impl Listening {
    /// Serves until accepting ends and the last call is answered.
    pub(super) fn serve(&self, routes: Routes, listener: Listener) -> impl Future<Output = ()> + Send + 'static {
        let address = listener.address().clone();
        let stop = self.accepting.clone().cancelled_owned();
        let connections = listener.connections(self.everything.clone());
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .max_concurrent_streams(MAX_CONCURRENT_CALLS)
            .add_routes(routes);
        async move {
            if let Err(error) = server.serve_with_incoming_shutdown(connections, stop).await {
                tracing::error!(%error, %address, "a listener failed");
            }
        }
    }
}

fn everywhere(services: &[&str], health: HealthServer<impl Health>) -> Result<RoutesBuilder, Error> {
    // A client that speaks one version of reflection may ask it about the other.
    let reflection = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(v1alpha::FILE_DESCRIPTOR_SET);
        services.iter().chain(&EVERYWHERE).fold(builder, |builder, service| builder.with_service_name(*service))
    };
    let mut routes = RoutesBuilder::default();
    routes.add_service(health).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    Ok(routes)
}
