//! What a story needs: a sidecar on the store of the story's setting, one team, a clock that the story moves, and a verb for
//! each operation.
//!
//! The verbs wait for their answers. A story is read from top to bottom, and a failure names its line.

mod answers;
mod books;
mod executor;
mod operator;
mod setting;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tollgate::{
    address::ListenAddress,
    clock::{Clock, ManualClock},
    domain::policy::Policy,
    proto::v1::{
        account_service_client::AccountServiceClient, quota_service_client::QuotaServiceClient,
        usage_service_client::UsageServiceClient,
    },
    serve::{ServeOptions, Sidecar},
    store::{Store, StoreLocation, StoreOptions},
};
use tonic::transport::{Channel, Endpoint};

pub(crate) use self::{
    answers::{at, check_refusal, moment, violated_field},
    books::Books,
    executor::Verb,
    operator::{Terms, basic, card, free, plan, professional},
    setting::{Answers, Place, is_from_leases, play, stories},
};

use super::super::support::STORE_WAIT;

/// Default start time of a story. The cycle of a team with anchor day 1 is then 2025-06-01 to 2025-07-01.
pub(crate) const MORNING: &str = "2025-06-10T09:00:00Z";

/// The team of a story.
pub(crate) const TEAM: &str = "team";

/// A sidecar with its clients.
pub(crate) struct Stage {
    pub(crate) quota: QuotaServiceClient<Channel>,
    pub(crate) accounts: AccountServiceClient<Channel>,
    pub(crate) usage: UsageServiceClient<Channel>,
    /// Connection to the data listener. `admin` is the one to the admin listener.
    pub(crate) data: Channel,
    pub(crate) admin: Channel,
    clock: ManualClock,
    /// Grant of each reservation, which the executor sends back.
    grants: RefCell<BTreeMap<String, Bytes>>,
    spent: Cell<u32>,
    pub(crate) sidecar: Sidecar,
    runtime: Runtime,
}

impl Stage {
    /// Starts a story with a team with these terms, at [`MORNING`].
    pub(crate) fn set(terms: Terms) -> Self {
        Self::set_at(MORNING, terms)
    }

    /// Starts a story with a team with these terms, at this time.
    pub(crate) fn set_at(time: &str, terms: Terms) -> Self {
        Self::set_with(time, Policy::default(), terms)
    }

    /// Starts a story with a team with these terms, at this time, under this policy.
    pub(crate) fn set_with(time: &str, policy: Policy, terms: Terms) -> Self {
        let stage = Self::empty(&setting::store(), time, policy);
        stage.put(terms);
        stage
    }

    /// Starts a story without a team, at [`MORNING`].
    pub(crate) fn without_team() -> Self {
        Self::empty(&setting::store(), MORNING, Policy::default())
    }

    /// Starts a story on this store, without a team.
    pub(crate) fn empty(location: &StoreLocation, time: &str, policy: Policy) -> Self {
        let clock = ManualClock::at(answers::milliseconds(time));
        // One thread is enough for the sidecar. It runs while the story waits.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sidecar, data, admin) = runtime.block_on(async {
            let clock = Clock::Manual(clock.clone());
            let options = StoreOptions { clock: clock.clone(), wait: STORE_WAIT, ..StoreOptions::default() };
            let store = Store::open(location, options).await.unwrap();
            let options = ServeOptions { policy, clock, escrow: setting::escrow(), ..ServeOptions::default() };
            let sidecar = Sidecar::start_with(store, options).await.unwrap();
            let data = connect(sidecar.listen_address()).await;
            let admin = connect(sidecar.admin_address()).await;
            (sidecar, data, admin)
        });
        Self {
            quota: QuotaServiceClient::new(data.clone()),
            accounts: AccountServiceClient::new(admin.clone()),
            usage: UsageServiceClient::new(admin.clone()),
            data,
            admin,
            clock,
            grants: RefCell::default(),
            spent: Cell::default(),
            sidecar,
            runtime,
        }
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1_000);
    }

    /// Moves the clock forward to this time.
    #[track_caller]
    pub(crate) fn advance_to(&self, time: &str) {
        let time_ms = answers::milliseconds(time);
        assert!(time_ms >= self.clock.now_ms(), "{time} has passed");
        self.clock.advance_to(time_ms);
    }

    /// Waits for an operation that has no verb.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Starts an operation without waiting for it.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(work)
    }

    fn grant_of(&self, reservation: &str) -> Bytes {
        self.grants.borrow().get(reservation).cloned().unwrap_or_default()
    }

    fn keep_grant(&self, reservation: &str, grant: Bytes) {
        self.grants.borrow_mut().insert(reservation.to_owned(), grant);
    }
}

async fn connect(address: &ListenAddress) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
