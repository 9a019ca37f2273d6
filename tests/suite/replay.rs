//! `tollgate replay` against a fake sidecar with faults that a real one rarely or never shows: lost answers, double charges,
//! refusals. `replay_for_real` tests it against real sidecars.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tollgate::{
    proto::v1::{
        account_service_server::{AccountService, AccountServiceServer},
        quota_service_server::{QuotaService, QuotaServiceServer},
        usage_service_server::{UsageService, UsageServiceServer},
        *,
    },
    replay::{Reconciliation, ReplayArguments, ReplayReport, SecurityArguments, replay},
};
use tonic::{Request, Response, Status, transport::Server};

const CONCURRENCY: u16 = 32;

#[tokio::test]
async fn a_lost_answer_is_retried_and_charged_once() {
    let sidecar = FakeSidecar::start(Faults { lose_first_answers: true, ..Faults::default() });
    let report = sidecar.replay(8, CancellationToken::new()).await;
    assert_eq!((report.total.calls, report.total.proceeded, report.total.failed), (600, 600, 0));
    // 172 calls at 5, 190 at 2, 132 at 15 and 106 at 25 credits.
    assert_eq!((report.total.credits, report.total.usage_growth), (5_870, Some(5_870)));
    assert!(report.total.books == Reconciliation::Agree && !report.stopped_early);
    assert_eq!((report.reserve.count, report.commit.count), (600, 600));
    assert_eq!(sidecar.books().reserve_attempts, 1_200);
}

#[tokio::test]
async fn a_suspended_block_is_counted_and_never_committed() {
    let sidecar = FakeSidecar::start(Faults { credits_per_team: Some(100), ..Faults::default() });
    let report = sidecar.replay(8, CancellationToken::new()).await;
    let suspended = report.total.suspended["blocks_stopped"];
    assert!(suspended > 0);
    assert_eq!(report.total.proceeded + suspended, 600);
    assert_eq!(report.commit.count, report.total.proceeded);
    assert!(report.total.books == Reconciliation::Agree && report.teams.iter().all(|team| team.credits <= 100));
}

#[tokio::test]
async fn a_difference_from_the_sidecars_usage_is_reported() {
    let sidecar = FakeSidecar::start(Faults { charge_twice_for_team: Some("replay-3"), ..Faults::default() });
    let report = sidecar.replay(8, CancellationToken::new()).await;
    let differing: Vec<_> =
        report.teams.iter().filter(|team| team.books == Reconciliation::Differ).map(|team| &team.team).collect();
    assert_eq!(differing, ["replay-3"]);
    assert_eq!(report.total.books, Reconciliation::Differ);
    assert!(report.to_string().contains("DIFFER"));
}

#[tokio::test]
async fn a_permanently_refused_call_fails_alone() {
    let sidecar = FakeSidecar::start(Faults { refuse_model: Some("gpt-4"), ..Faults::default() });
    let report = sidecar.replay(8, CancellationToken::new()).await;
    assert_eq!((report.total.calls, report.total.failed, report.total.proceeded), (600, 106, 494));
    assert_eq!(report.errors, ["CheckAndReserve: InvalidArgument: not on the card"]);
}

#[tokio::test]
async fn absent_teams_are_created_and_others_left_unchanged() {
    let sidecar = FakeSidecar::start(Faults::default());
    let before = Team { team_id: "replay-0".to_owned(), plan: "basic".to_owned(), ..Team::default() };
    sidecar.books().teams.insert("replay-0".to_owned(), (before, 0));
    let report = sidecar.replay(2, CancellationToken::new()).await;
    let teams: Vec<_> = report.teams.iter().map(|team| (team.plan.as_str(), team.paid_seat)).collect();
    assert_eq!(teams, [("basic", false), ("professional", true)]);
    assert_eq!(sidecar.books().teams["replay-1"].0.billing_anchor_day, 1);
}

#[tokio::test]
async fn each_run_ends_once_after_its_last_block() {
    let sidecar = FakeSidecar::start(Faults::default());
    sidecar.replay(8, CancellationToken::new()).await;
    let books = sidecar.books();
    assert_eq!(books.blocks_by_run.len(), 16);
    assert_eq!(books.blocks_by_ended_run, books.blocks_by_run);
}

#[tokio::test]
async fn a_stopped_replay_starts_no_rows_and_ends_its_runs() {
    let stop = CancellationToken::new();
    let sidecar = FakeSidecar::start(Faults { stop_at_row: Some((50, stop.clone())), ..Faults::default() });
    let report = sidecar.replay(8, stop).await;
    assert!(report.stopped_early);
    assert!((50..=50 + u64::from(CONCURRENCY)).contains(&report.total.calls), "{} calls", report.total.calls);
    assert_eq!(report.total.calls, report.total.proceeded);
    assert_eq!(report.total.books, Reconciliation::Agree);
    let books = sidecar.books();
    assert_eq!(books.blocks_by_ended_run, books.blocks_by_run);
}

#[tokio::test]
async fn without_a_sidecar_the_error_says_how_to_start_one() {
    let nowhere = TempDir::new().unwrap();
    let error = replay(&arguments(&nowhere.path().join("absent"), 8), CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("`tollgate serve`"), "{error}");
}

/// The faults of the fake sidecar.
#[derive(Clone, Default)]
struct Faults {
    /// Carries out the first attempt of every reserve and commit, but answers with an error.
    lose_first_answers: bool,
    credits_per_team: Option<i64>,
    charge_twice_for_team: Option<&'static str>,
    refuse_model: Option<&'static str>,
    /// Cancels the token when this number of rows is reserved.
    stop_at_row: Option<(usize, CancellationToken)>,
}

/// What the fake sidecar has recorded.
#[derive(Default)]
struct Ledger {
    /// Each team and its used credits.
    teams: BTreeMap<String, (Team, i64)>,
    /// The price of each reservation, and whether it is committed.
    reservations: BTreeMap<String, (i64, bool)>,
    reserve_attempts: usize,
    blocks_by_run: BTreeMap<String, usize>,
    /// Number of blocks that the run had reserved when it ended.
    blocks_by_ended_run: BTreeMap<String, usize>,
}

#[derive(Clone)]
struct Service {
    faults: Faults,
    books: Arc<Mutex<Ledger>>,
}

struct FakeSidecar {
    service: Service,
    directory: TempDir,
    server: JoinHandle<()>,
}

impl FakeSidecar {
    fn start(faults: Faults) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let service = Service { faults, books: Arc::default() };
        let router = Server::builder()
            .add_service(QuotaServiceServer::new(service.clone()))
            .add_service(AccountServiceServer::new(service.clone()))
            .add_service(UsageServiceServer::new(service.clone()));
        let serving = router.serve_with_incoming(UnixListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { service, directory, server }
    }

    async fn replay(&self, teams: u16, stop: CancellationToken) -> ReplayReport {
        replay(&arguments(&self.directory.path().join("socket"), teams), stop).await.unwrap()
    }

    fn books(&self) -> MutexGuard<'_, Ledger> {
        self.service.books.lock().unwrap()
    }
}

impl Drop for FakeSidecar {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn arguments(socket: &Path, teams: u16) -> ReplayArguments {
    let address = format!("unix:{}", socket.display());
    ReplayArguments {
        security: SecurityArguments::default(),
        trace: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure_llm_2023_code_excerpt.csv"),
        addr: address.parse().unwrap(),
        admin: address.parse().unwrap(),
        teams,
        plan: "professional".to_owned(),
        paid_seat: true,
        ms_per_token: 0,
        concurrency: CONCURRENCY,
        json: false,
    }
}

fn price(model: &str) -> Result<i64, Status> {
    match model {
        "gpt-4o" => Ok(2),
        "gpt-3.5" => Ok(5),
        "gpt-4o-mini" => Ok(15),
        "gpt-4" => Ok(25),
        _ => Err(Status::invalid_argument("not on the card")),
    }
}

#[tonic::async_trait]
impl QuotaService for Service {
    async fn check_and_reserve(
        &self,
        request: Request<CheckAndReserveRequest>,
    ) -> Result<Response<CheckAndReserveResponse>, Status> {
        let request = request.into_inner();
        if self.faults.refuse_model == Some(request.model.as_str()) {
            return Err(Status::invalid_argument("not on the card"));
        }
        let books = &mut *self.books.lock().unwrap();
        books.reserve_attempts += 1;
        let credits = price(&request.model)?;
        let first = !books.reservations.contains_key(&request.reservation_id);
        if first {
            let used = books.teams[&request.team_id].1;
            if self.faults.credits_per_team.is_some_and(|limit| used + credits > limit) {
                let mut suspend = Suspend::default();
                suspend.set_reason(SuspendReason::BlocksStopped);
                let decision = Some(check_and_reserve_response::Decision::Suspend(suspend));
                return Ok(Response::new(CheckAndReserveResponse { decision, balance: None }));
            }
            books.teams.get_mut(&request.team_id).unwrap().1 += credits;
            books.reservations.insert(request.reservation_id.clone(), (credits, false));
            *books.blocks_by_run.entry(request.run_id).or_default() += 1;
            if let Some((row, stop)) = &self.faults.stop_at_row
                && books.reservations.len() == *row
            {
                stop.cancel();
            }
            if self.faults.lose_first_answers {
                return Err(Status::unavailable("lost"));
            }
        }
        let mut proceed = Proceed {
            reservation_id: request.reservation_id,
            credits,
            grant: request.team_id.into(),
            replayed: !first,
            ..Proceed::default()
        };
        proceed.set_state(ReservationState::Open);
        proceed.set_basis(Basis::Allotment);
        let decision = Some(check_and_reserve_response::Decision::Proceed(proceed));
        Ok(Response::new(CheckAndReserveResponse { decision, balance: None }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let request = request.into_inner();
        if request.grant != request.team_id.as_bytes() {
            return Err(Status::invalid_argument("not the grant of the Proceed"));
        }
        let books = &mut *self.books.lock().unwrap();
        let found = books.reservations.get_mut(&request.reservation_id);
        let (credits, committed) = found.ok_or_else(|| Status::not_found("no such reservation"))?;
        let replayed = std::mem::replace(committed, true);
        if !replayed && self.faults.charge_twice_for_team == Some(request.team_id.as_str()) {
            books.teams.get_mut(&request.team_id).unwrap().1 += *credits;
        }
        if !replayed && self.faults.lose_first_answers {
            return Err(Status::deadline_exceeded("lost"));
        }
        Ok(Response::new(CommitResponse { credits: *credits, balance: None, replayed, late: false }))
    }

    async fn end_run(&self, request: Request<EndRunRequest>) -> Result<Response<EndRunResponse>, Status> {
        let run_id = request.into_inner().run_id;
        let books = &mut *self.books.lock().unwrap();
        let blocks = books.blocks_by_run.get(&run_id).copied().ok_or_else(|| Status::not_found("no such run"))?;
        // Ending a run twice doubles its blocks, which a test notices.
        *books.blocks_by_ended_run.entry(run_id).or_default() += blocks;
        Ok(Response::new(EndRunResponse::default()))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn get_reservation(
        &self,
        _: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn begin_run(&self, _: Request<BeginRunRequest>) -> Result<Response<BeginRunResponse>, Status> {
        Err(not_part_of_a_replay())
    }
}

#[tonic::async_trait]
impl AccountService for Service {
    async fn put_team(&self, request: Request<PutTeamRequest>) -> Result<Response<PutTeamResponse>, Status> {
        let team = request.into_inner().team.unwrap();
        self.books.lock().unwrap().teams.insert(team.team_id.clone(), (team.clone(), 0));
        Ok(Response::new(PutTeamResponse { team: Some(team) }))
    }

    async fn get_team(&self, request: Request<GetTeamRequest>) -> Result<Response<GetTeamResponse>, Status> {
        let books = self.books.lock().unwrap();
        let found = books.teams.get(&request.into_inner().team_id);
        let team = found.ok_or_else(|| Status::not_found("no such team"))?.0.clone();
        Ok(Response::new(GetTeamResponse { team: Some(team) }))
    }

    async fn list_teams(&self, _: Request<ListTeamsRequest>) -> Result<Response<ListTeamsResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn set_overages(&self, _: Request<SetOveragesRequest>) -> Result<Response<SetOveragesResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn put_rate_card(&self, _: Request<PutRateCardRequest>) -> Result<Response<PutRateCardResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn get_rate_card(&self, _: Request<GetRateCardRequest>) -> Result<Response<GetRateCardResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn list_rate_cards(
        &self,
        _: Request<ListRateCardsRequest>,
    ) -> Result<Response<ListRateCardsResponse>, Status> {
        Err(not_part_of_a_replay())
    }

    async fn list_audit_entries(
        &self,
        _: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        Err(not_part_of_a_replay())
    }
}

#[tonic::async_trait]
impl UsageService for Service {
    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let used = self.books.lock().unwrap().teams[&request.into_inner().team_id].1;
        let balance = Some(Balance { used, ..Balance::default() });
        Ok(Response::new(GetUsageResponse { balance, ..GetUsageResponse::default() }))
    }

    async fn list_charges(&self, _: Request<ListChargesRequest>) -> Result<Response<ListChargesResponse>, Status> {
        Err(not_part_of_a_replay())
    }
}

fn not_part_of_a_replay() -> Status {
    Status::unimplemented("not part of a replay")
}
