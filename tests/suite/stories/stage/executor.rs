//! The verbs of a flow executor. A verb is built up, and ends with the expected answer.

use std::fmt::Debug;

use tollgate::proto::v1::{
    Basis, BeginRunRequest, BeginRunResponse, CheckAndReserveRequest, CheckAndReserveResponse, CommitRequest,
    CommitResponse, EndRunRequest, EndRunResponse, ExtendRequest, ExtendResponse, Proceed, ReleaseRequest,
    ReleaseResponse, Remedy, ReservationState, RunAdmitted, Suspend, SuspendReason, Trigger, begin_run_response,
    check_and_reserve_response::Decision,
};
use tonic::{Code, Response, Status};

use super::{
    Stage, TEAM,
    answers::{at, check_refusal},
};

/// A request, before the story says what it expects.
pub(crate) trait Verb: Sized {
    type Answer: Debug;

    fn ask(self) -> Result<Self::Answer, Status>;

    /// Returns the answer, for a story that examines it itself. Panics on an error.
    #[track_caller]
    fn answer(self) -> Self::Answer {
        self.ask().unwrap_or_else(|status| panic!("refused: {status}"))
    }

    /// Checks that the call fails with this code and reason.
    #[track_caller]
    fn fails(self, code: Code, reason: &str) -> Status {
        let status = self.ask().expect_err("the call is refused");
        check_refusal(&status, code, reason);
        status
    }
}

macro_rules! verbs {
    ($($verb:ident: $request:ty => $rpc:ident -> $answer:ty),* $(,)?) => {
        $(
            pub(crate) struct $verb<'stage> {
                stage: &'stage Stage,
                pub(crate) request: $request,
            }

            impl Verb for $verb<'_> {
                type Answer = $answer;

                fn ask(self) -> Result<$answer, Status> {
                    self.stage.wait_for(self.stage.quota.clone().$rpc(self.request)).map(Response::into_inner)
                }
            }
        )*
    };
}

verbs! {
    Reserve: CheckAndReserveRequest => check_and_reserve -> CheckAndReserveResponse,
    Commit: CommitRequest => commit -> CommitResponse,
    Release: ReleaseRequest => release -> ReleaseResponse,
    Extend: ExtendRequest => extend -> ExtendResponse,
    BeginRun: BeginRunRequest => begin_run -> BeginRunResponse,
    EndRun: EndRunRequest => end_run -> EndRunResponse,
}

impl Stage {
    /// Reserves for a call of GPT-4 by a block of the run `run`, unless changed.
    pub(crate) fn reserve(&self, reservation: &str) -> Reserve<'_> {
        let request = CheckAndReserveRequest {
            team_id: TEAM.to_owned(),
            flow_id: "flow".to_owned(),
            run_id: "run".to_owned(),
            block_id: "block".to_owned(),
            reservation_id: reservation.to_owned(),
            model: "gpt-4".to_owned(),
            ..CheckAndReserveRequest::default()
        };
        Reserve { stage: self, request }
    }

    pub(crate) fn commit(&self, reservation: &str) -> Commit<'_> {
        let grant = self.grant_of(reservation);
        let (team_id, reservation_id) = (TEAM.to_owned(), reservation.to_owned());
        Commit { stage: self, request: CommitRequest { team_id, reservation_id, grant, units: None, model: None } }
    }

    pub(crate) fn release(&self, reservation: &str) -> Release<'_> {
        let grant = self.grant_of(reservation);
        let (team_id, reservation_id) = (TEAM.to_owned(), reservation.to_owned());
        Release { stage: self, request: ReleaseRequest { team_id, reservation_id, grant } }
    }

    pub(crate) fn extend(&self, reservation: &str, seconds: i64) -> Extend<'_> {
        let grant = self.grant_of(reservation);
        let (team_id, reservation_id) = (TEAM.to_owned(), reservation.to_owned());
        let hold_for = Some(prost_types::Duration { seconds, nanos: 0 });
        Extend { stage: self, request: ExtendRequest { team_id, reservation_id, grant, hold_for } }
    }

    pub(crate) fn begin_run(&self, run: &str) -> BeginRun<'_> {
        let (team_id, flow_id, run_id) = (TEAM.to_owned(), "flow".to_owned(), run.to_owned());
        BeginRun { stage: self, request: BeginRunRequest { team_id, flow_id, run_id } }
    }

    pub(crate) fn end_run(&self, run: &str) -> EndRun<'_> {
        EndRun { stage: self, request: EndRunRequest { team_id: TEAM.to_owned(), run_id: run.to_owned() } }
    }

    /// Commits this many credits, a multiple of 5, within the allotment and outside of any run.
    #[track_caller]
    pub(crate) fn spends(&self, credits: u32) {
        assert_eq!(credits % 5, 0, "a call of GPT-3.5 costs 5 credits");
        let number = self.spent.replace(self.spent.get() + 1);
        let id = format!("spent-{number}");
        let credits_held = i64::from(credits);
        self.reserve(&id).test().model("gpt-3.5").units(credits / 5).proceeds(credits_held, Basis::Allotment);
        self.commit(&id).charges(credits_held);
    }
}

impl Reserve<'_> {
    pub(crate) fn flow(mut self, flow: &str) -> Self {
        self.request.flow_id = flow.to_owned();
        self
    }

    pub(crate) fn run(mut self, run: &str) -> Self {
        self.request.run_id = run.to_owned();
        self
    }

    pub(crate) fn block(mut self, block: &str) -> Self {
        self.request.block_id = block.to_owned();
        self
    }

    pub(crate) fn model(mut self, model: &str) -> Self {
        self.request.model = model.to_owned();
        self
    }

    pub(crate) fn units(mut self, units: u32) -> Self {
        self.request.units = units;
        self
    }

    /// Makes it a test of a prompt, without a run and a block.
    pub(crate) fn test(mut self) -> Self {
        self.request.set_trigger(Trigger::Test);
        self.run("").block("")
    }

    pub(crate) fn held_for(mut self, seconds: i64) -> Self {
        self.request.hold_for = Some(prost_types::Duration { seconds, nanos: 0 });
        self
    }

    pub(crate) fn dry_run(mut self) -> Self {
        self.request.dry_run = true;
        self
    }

    /// Checks that this call holds the credits.
    #[track_caller]
    pub(crate) fn proceeds(self, credits: i64, basis: Basis) -> Proceed {
        let proceed = self.proceed();
        let seen = (proceed.credits, proceed.basis(), proceed.state(), proceed.replayed);
        assert_eq!(seen, (credits, basis, ReservationState::Open, false));
        proceed
    }

    /// Checks that an earlier call held the credits, and that the reservation is now in this state.
    #[track_caller]
    pub(crate) fn replays(self, credits: i64, basis: Basis, state: ReservationState) -> Proceed {
        let proceed = self.proceed();
        let seen = (proceed.credits, proceed.basis(), proceed.state(), proceed.replayed);
        assert_eq!(seen, (credits, basis, state, true));
        proceed
    }

    #[track_caller]
    fn proceed(self) -> Proceed {
        let stage = self.stage;
        match self.answer().decision {
            Some(Decision::Proceed(proceed)) => {
                stage.keep_grant(&proceed.reservation_id, proceed.grant.clone());
                proceed
            }
            other => panic!("does not proceed: {other:?}"),
        }
    }

    /// Checks that the call is suspended until the end of the cycle, for this reason and with these remedies.
    #[track_caller]
    pub(crate) fn suspends(self, reason: SuspendReason, remedies: &[Remedy]) -> Suspend {
        let answer = self.answer();
        let Some(Decision::Suspend(suspend)) = answer.decision else { panic!("not suspended: {answer:?}") };
        let cycle_end = answer.balance.unwrap().cycle_end;
        check_suspend(suspend, reason, remedies, cycle_end)
    }
}

#[track_caller]
fn check_suspend(
    suspend: Suspend,
    reason: SuspendReason,
    remedies: &[Remedy],
    cycle_end: Option<prost_types::Timestamp>,
) -> Suspend {
    assert_eq!(suspend.reason(), reason);
    assert_eq!(suspend.remedies().collect::<Vec<_>>(), remedies);
    assert_eq!(at(suspend.resumes_at), at(cycle_end));
    assert!(!suspend.message.is_empty());
    suspend
}

impl Commit<'_> {
    pub(crate) fn units(mut self, units: u32) -> Self {
        self.request.units = Some(units);
        self
    }

    pub(crate) fn model(mut self, model: &str) -> Self {
        self.request.model = Some(model.to_owned());
        self
    }

    pub(crate) fn without_grant(mut self) -> Self {
        self.request.grant.clear();
        self
    }

    /// Checks that this call charges this many credits.
    #[track_caller]
    pub(crate) fn charges(self, credits: i64) -> CommitResponse {
        self.answers(credits, false, false)
    }

    /// Checks that this call charges this many credits after the hold ran out.
    #[track_caller]
    pub(crate) fn charges_late(self, credits: i64) -> CommitResponse {
        self.answers(credits, false, true)
    }

    /// Checks that an earlier call charged this many credits, before the hold ran out.
    #[track_caller]
    pub(crate) fn replays(self, credits: i64) -> CommitResponse {
        self.answers(credits, true, false)
    }

    #[track_caller]
    fn answers(self, credits: i64, replayed: bool, late: bool) -> CommitResponse {
        let answer = self.answer();
        assert_eq!((answer.credits, answer.replayed, answer.late), (credits, replayed, late));
        answer
    }
}

impl Release<'_> {
    #[track_caller]
    pub(crate) fn gives_back(self) -> ReleaseResponse {
        let answer = self.answer();
        assert!(!answer.replayed);
        answer
    }

    #[track_caller]
    pub(crate) fn replays(self) -> ReleaseResponse {
        let answer = self.answer();
        assert!(answer.replayed);
        answer
    }
}

impl Extend<'_> {
    #[track_caller]
    pub(crate) fn holds_until(self, time: &str) {
        assert_eq!(at(self.answer().expires_at), time);
    }
}

impl BeginRun<'_> {
    pub(crate) fn flow(mut self, flow: &str) -> Self {
        self.request.flow_id = flow.to_owned();
        self
    }

    #[track_caller]
    pub(crate) fn admits(self) -> RunAdmitted {
        let admitted = self.admitted();
        assert!(!admitted.replayed);
        admitted
    }

    #[track_caller]
    pub(crate) fn replays(self) -> RunAdmitted {
        let admitted = self.admitted();
        assert!(admitted.replayed);
        admitted
    }

    #[track_caller]
    fn admitted(self) -> RunAdmitted {
        match self.answer().decision {
            Some(begin_run_response::Decision::Admitted(admitted)) => admitted,
            other => panic!("not admitted: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn suspends(self, reason: SuspendReason, remedies: &[Remedy]) -> Suspend {
        let answer = self.answer();
        let Some(begin_run_response::Decision::Suspend(suspend)) = answer.decision else {
            panic!("not suspended: {answer:?}")
        };
        check_suspend(suspend, reason, remedies, answer.balance.unwrap().cycle_end)
    }
}

impl EndRun<'_> {
    /// Checks that this call ends the run, and that the run committed this many credits.
    #[track_caller]
    pub(crate) fn ends_with(self, credits: i64) {
        let answer = self.answer();
        assert_eq!((answer.credits, answer.replayed), (credits, false));
    }

    #[track_caller]
    pub(crate) fn replays(self, credits: i64) {
        let answer = self.answer();
        assert_eq!((answer.credits, answer.replayed), (credits, true));
    }
}
