//! The log of calls: a span with the subject of a call, and in it one line with the answer.
//!
//! Both have level debug, so a sidecar that does not log debug formats nothing. The gate logs changes of a team at info, and
//! `status` logs calls that failed.

use std::pin::Pin;

use tonic::Status;
use tracing::{Instrument as _, Span};

use crate::{
    domain::id::Id,
    gate::{
        GateError,
        calls::{
            BeginRunAnswer, CommitAnswer, EndRunAnswer, ReleaseAnswer, ReserveAnswer, ReserveDecision, RunDecision,
            SuspendAnswer,
        },
    },
};

/// What a call is about, as far as its request says.
#[derive(Default)]
pub(super) struct CallSubject<'a> {
    pub(super) team: Option<&'a Id>,
    pub(super) flow: Option<&'a Id>,
    pub(super) run: Option<&'a Id>,
    pub(super) reservation: Option<&'a Id>,
}

impl<'a> CallSubject<'a> {
    pub(super) fn team(team: &'a Id) -> Self {
        Self { team: Some(team), ..Self::default() }
    }
}

/// Returns the span of a call. The gate adds the flow and run of a reservation that the request does not name.
pub(super) fn span(rpc: &'static str, subject: &CallSubject<'_>) -> Span {
    let CallSubject { team, flow, run, reservation } = subject;
    tracing::debug_span!(
        "call",
        rpc,
        team = team.map(display),
        flow = flow.map(display),
        run = run.map(display),
        reservation = reservation.map(display)
    )
}

/// Awaits a call in its span, and logs the answer there with `line`. The call is pinned by the caller, because it is large and
/// each future that took it by value would grow by its size.
pub(super) async fn answered<T>(
    span: Span,
    call: Pin<&mut impl Future<Output = Result<T, GateError>>>,
    line: fn(&T),
) -> Result<T, Status> {
    async {
        let answer = call.await?;
        line(&answer);
        Ok(answer)
    }
    .instrument(span)
    .await
}

pub(super) fn reserve(answer: &ReserveAnswer) {
    let remaining = answer.balance.account.remaining();
    match &answer.decision {
        ReserveDecision::Proceed(proceed) => {
            let terms = &proceed.reservation.terms;
            tracing::debug!(
                decision = "proceed",
                reservation = proceed.id.as_ref().map(display),
                credits = terms.credits,
                basis = terms.basis.name(),
                rate_card = %terms.rate_card,
                state = proceed.reservation.state.name(),
                replayed = proceed.replayed,
                remaining,
            );
        }
        ReserveDecision::Suspend(suspend) => suspended(suspend, remaining),
    }
}

pub(super) fn begin_run(answer: &BeginRunAnswer) {
    let remaining = answer.balance.account.remaining();
    match &answer.decision {
        RunDecision::Admitted { replayed, .. } => tracing::debug!(decision = "admitted", replayed, remaining),
        RunDecision::Suspend(suspend) => suspended(suspend, remaining),
    }
}

fn suspended(suspend: &SuspendAnswer, remaining: i64) {
    let SuspendAnswer { suspension, retry_after_ms } = suspend;
    tracing::debug!(decision = "suspend", reason = suspension.reason.name(), retry_after_ms, remaining);
}

pub(super) fn commit(answer: &CommitAnswer) {
    let CommitAnswer { credits, balance, replayed, late } = answer;
    tracing::debug!(decision = "committed", credits, replayed, late, remaining = balance.account.remaining());
}

pub(super) fn release(answer: &ReleaseAnswer) {
    let ReleaseAnswer { balance, replayed } = answer;
    tracing::debug!(decision = "released", replayed, remaining = balance.account.remaining());
}

pub(super) fn extend(expires_at_ms: &i64) {
    tracing::debug!(decision = "extended", expires_at_ms);
}

pub(super) fn end_run(answer: &EndRunAnswer) {
    let EndRunAnswer { credits, replayed } = answer;
    tracing::debug!(decision = "ended", credits, replayed);
}

/// Logs an answered call that needed no decision.
pub(super) fn done<T>(_: &T) {
    tracing::debug!("done");
}
