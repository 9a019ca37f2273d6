//! The kinds of calls, which differ in what they cost and so have slots of their own.

/// How the paths of the health service begin.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The kind of a call. Each kind has call slots of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// A call of Tollgate's services, or of a service that the listener does not have.
    Contract,
    /// A health check, which is answered from memory and is needed most when the sidecar is overloaded.
    HealthCheck,
    /// A watch of the health or a conversation with reflection, which stays open for as long as the client likes.
    Stream,
}

impl CallKind {
    /// Returns the kind of a call with this path.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/grpc.health.v1.Health/Watch" => Self::Stream,
            _ if is_health(path) => Self::HealthCheck,
            _ if path.starts_with("/grpc.reflection.") => Self::Stream,
            _ => Self::Contract,
        }
    }
}

/// Returns whether a path is one of the health service.
pub(super) fn is_health(path: &str) -> bool {
    path.starts_with(HEALTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_health_checks_are_kinds_of_their_own() {
        for (path, kind) in [
            ("/tollgate.v1.QuotaService/Commit", CallKind::Contract),
            ("/nothing", CallKind::Contract),
            ("/grpc.health.v1.Health/Check", CallKind::HealthCheck),
            ("/grpc.health.v1.Health/List", CallKind::HealthCheck),
            ("/grpc.health.v1.Health/Watch", CallKind::Stream),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", CallKind::Stream),
        ] {
            assert_eq!(CallKind::of(path), kind, "{path}");
        }
    }
}
