//! Which services each listener has.

use std::sync::Arc;

use tonic::{
    Status,
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::{
    pb::{v1, v1alpha},
    server::{Builder, Error},
};

use crate::{
    gate::Gate,
    proto::{
        DESCRIPTORS,
        v1::{
            account_service_server::AccountServiceServer, quota_service_server::QuotaServiceServer,
            usage_service_server::UsageServiceServer,
        },
    },
    serve::{access::TokenGuard, limits::Limits},
    service::{self, AccountApi, QuotaApi, UsageApi},
};

/// The name of QuotaService, which executors call.
pub(in crate::serve) const QUOTA: &str = <QuotaServiceServer<QuotaApi> as NamedService>::NAME;

/// The services of the data listener, as reflection lists them.
const ON_DATA: &[&str] = &[QUOTA];

/// The services of the admin listener.
pub(in crate::serve) const ON_ADMIN: &[&str] =
    &[<AccountServiceServer<AccountApi> as NamedService>::NAME, <UsageServiceServer<UsageApi> as NamedService>::NAME];

/// The services that every listener has in addition.
const COMMON: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// The services of one listener.
pub(in crate::serve) struct Services {
    /// All services, as tonic serves them.
    pub(in crate::serve) routes: Routes,
    /// QuotaService, for the fast path, if it is one of them.
    pub(in crate::serve) quota: Option<QuotaApi>,
    /// The token that calls need, if the listener asks for one.
    pub(in crate::serve) guard: Option<TokenGuard>,
}

impl From<Routes> for Services {
    fn from(routes: Routes) -> Self {
        Self { routes, quota: None, guard: None }
    }
}

/// Returns the services of the data listener.
pub(in crate::serve) fn data(
    gate: &Arc<Gate>,
    health: HealthServer<impl Health>,
    limits: &Limits,
) -> Result<Services, Error> {
    let max_message_bytes = max_message_bytes(limits);
    let mut routes = common(ON_DATA, health, max_message_bytes)?;
    routes.add_service(service::quota(Arc::clone(gate), max_message_bytes));
    let routes = with_advice(
        routes,
        "this listener has QuotaService; AccountService and UsageService are on the admin listener",
    );
    Ok(Services { routes, quota: Some(QuotaApi::new(Arc::clone(gate))), guard: None })
}

/// Returns the services of the admin listener, for calls with the token of `guard`.
pub(in crate::serve) fn admin(
    gate: &Arc<Gate>,
    health: HealthServer<impl Health>,
    limits: &Limits,
    guard: Option<TokenGuard>,
) -> Result<Services, Error> {
    let max_message_bytes = max_message_bytes(limits);
    let mut routes = common(ON_ADMIN, health, max_message_bytes)?;
    routes
        .add_service(service::account(Arc::clone(gate), max_message_bytes))
        .add_service(service::usage(Arc::clone(gate), max_message_bytes));
    let routes =
        with_advice(routes, "this listener has AccountService and UsageService; QuotaService is on the data listener");
    Ok(Services { routes, quota: None, guard })
}

/// Answers calls of services that this listener does not have with the listener that has them, because the two addresses are
/// easily mistaken for each other.
fn with_advice(routes: RoutesBuilder, advice: &'static str) -> Routes {
    let answer = move || async move { Status::unimplemented(advice).into_http::<Body>() };
    routes.routes().into_axum_router().fallback(answer).into()
}

/// Returns the services that every listener has. Reflection lists them together with `services`.
fn common(
    services: &[&str],
    health: HealthServer<impl Health>,
    max_message_bytes: usize,
) -> Result<RoutesBuilder, Error> {
    // A client of one version of reflection may ask for the descriptors of the other version, and for those of error details.
    let reflection = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(v1alpha::FILE_DESCRIPTOR_SET);
        services.iter().chain(&COMMON).fold(builder, |builder, service| builder.with_service_name(*service))
    };
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(health.max_decoding_message_size(max_message_bytes))
        .add_service(reflection().build_v1()?.max_decoding_message_size(max_message_bytes))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(max_message_bytes));
    Ok(routes)
}

fn max_message_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;
    use tokio_stream::StreamExt as _;
    use tokio_util::sync::CancellationToken;
    use tonic::transport::{Channel, Endpoint};
    use tonic_health::server::health_reporter;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    use super::{
        super::{
            listener::{Listener, Reach},
            server::ListenerServer,
        },
        *,
    };
    use crate::serve::connections::{Eviction, Protocol};

    const TIMEOUT: Duration = Duration::from_secs(5);

    struct Server {
        accepting: CancellationToken,
        everything: CancellationToken,
        serving: tokio::task::JoinHandle<()>,
        address: String,
    }

    /// Starts a server of the services that every listener has, on a free port.
    async fn serve() -> Server {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), Reach::ThisMachine).await.unwrap();
        let address = listener.address().to_string();
        let everything = CancellationToken::new();
        let accepting = everything.child_token();
        let limits = Limits::default();
        let (_, health) = health_reporter();
        let routes = common(ON_DATA, health, max_message_bytes(&limits)).unwrap().routes();
        let metrics =
            Arc::clone(crate::metrics::Metrics::new(&crate::store::StoreLocation::Memory, 0).unwrap().calls());
        let connections = tokio_util::task::TaskTracker::new();
        let (kept_accepting, kept_everything) = (accepting.clone(), everything.clone());
        let listening = ListenerServer {
            accepting: kept_accepting,
            everything: kept_everything,
            limits,
            protocol: Protocol::Http2,
            eviction: Eviction::LowestRank,
            connections,
            metrics: Some(metrics),
            traces: None,
        };
        let serving = tokio::spawn(listening.serve(routes, listener));
        Server { accepting, everything, serving, address }
    }

    async fn reflection(server: &Server) -> ServerReflectionClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        ServerReflectionClient::new(endpoint.connect().await.unwrap())
    }

    fn list_services() -> ServerReflectionRequest {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        ServerReflectionRequest { host: String::new(), message_request }
    }

    #[tokio::test]
    async fn reflection_lists_the_services_of_its_listener() {
        let server = serve().await;
        let mut client = reflection(&server).await;
        let requests = tokio_stream::once(list_services());
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
        let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        let mut expected = vec!["tollgate.v1.QuotaService"];
        expected.extend(COMMON);
        assert_eq!(names, expected);
        server.everything.cancel();
    }

    #[tokio::test]
    async fn an_open_stream_is_closed_at_shutdown() {
        let mut server = serve().await;
        let mut client = reflection(&server).await;
        let requests = tokio_stream::once(list_services()).chain(tokio_stream::pending());
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap();

        server.accepting.cancel();
        let refused = async { while TcpStream::connect(&server.address).await.is_ok() {} };
        tokio::time::timeout(TIMEOUT, refused).await.unwrap();
        assert!(!server.serving.is_finished(), "the server waits for the open stream");

        server.everything.cancel();
        tokio::time::timeout(TIMEOUT, &mut server.serving).await.unwrap().unwrap();
        assert!(answers.next().await.is_none_or(|answer| answer.is_err()));
    }
}
