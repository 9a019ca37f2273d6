//! The limits of listeners: each limit is met by a client that ignores it, while honest clients are served as usual.

mod abuse;
mod addresses;
mod calls;
mod connections;
mod fast_path;
mod requests;
mod wire;

use tollgate::{
    proto::v1::{CheckAndReserveRequest, check_and_reserve_response::Decision},
    serve::{Limits, ServeOptions, Sidecar},
    store::StoreLocation,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::suite::support::client::{Client, prompt_test, team_without_seat};

const TEAM: &str = "team";

const RESERVE: &str = "/tollgate.v1.QuotaService/CheckAndReserve";

/// A sidecar in this process, with one team, and the addresses of its listeners.
struct Listeners {
    sidecar: Sidecar,
    data: String,
    admin: String,
}

impl Listeners {
    async fn start(limits: Limits) -> Self {
        Self::start_with(ServeOptions { limits, ..ServeOptions::default() }).await
    }

    async fn start_with(options: ServeOptions) -> Self {
        let sidecar = Sidecar::start(options).await.unwrap();
        let (data, admin) = (sidecar.listen_address().to_string(), sidecar.admin_address().to_string());
        let listeners = Self { sidecar, data, admin };
        listeners.client().put_team(team_without_seat(TEAM, 1_000_000)).await;
        listeners
    }

    /// Starts a sidecar on this store, with a long `store_wait`.
    async fn start_on(store: StoreLocation, limits: Limits) -> Self {
        let store_wait = std::time::Duration::from_secs(60);
        Self::start_with(ServeOptions { limits, store, store_wait, ..ServeOptions::default() }).await
    }

    fn client(&self) -> Client {
        Client::of(&self.data, &self.admin)
    }
}

/// Returns a request that needs no run.
fn reserve(id: &str) -> CheckAndReserveRequest {
    prompt_test(TEAM, id, "gpt-4o")
}

/// Asserts that an honest client's call proceeds.
#[track_caller]
fn proceeds(answer: Result<Decision, Status>) {
    assert!(matches!(answer, Ok(Decision::Proceed(_))), "{answer:?}");
}

/// Asserts that a refusal has this code and reason, and a retry delay if repeating the call helps.
#[track_caller]
fn check(status: &Status, code: Code, reason: &str) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "tollgate"), "{status:?}");
    let wait = details.retry_info().and_then(|info| info.retry_delay);
    assert_eq!(wait.is_some_and(|wait| !wait.is_zero()), code != Code::InvalidArgument, "{status:?}");
}
