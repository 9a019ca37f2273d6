//! Encodes responses of QuotaService.

use prost_types::Duration;

use super::{balance, moment, trigger};
use crate::{
    domain::{
        id::Id,
        reservation::{Basis, Reservation, State},
        suspension::{Reason, Remedy},
    },
    gate::calls::{
        BeginRunAnswer, CommitAnswer, EndRunAnswer, Proceed, ReleaseAnswer, ReserveAnswer, ReserveDecision,
        RunDecision, SuspendAnswer,
    },
    proto::v1,
};

/// CheckAndReserve.
pub(in crate::service) fn reserve(answer: ReserveAnswer) -> v1::CheckAndReserveResponse {
    use v1::check_and_reserve_response::Decision;
    let balance = Some(balance(&answer.balance));
    let decision = match answer.decision {
        ReserveDecision::Proceed(granted) => Decision::Proceed(proceed(granted)),
        ReserveDecision::Suspend(refused) => Decision::Suspend(suspend(&refused)),
    };
    v1::CheckAndReserveResponse { decision: Some(decision), balance }
}

/// Commit.
pub(in crate::service) fn commit(answer: &CommitAnswer) -> v1::CommitResponse {
    v1::CommitResponse {
        credits: answer.credits,
        balance: Some(balance(&answer.balance)),
        replayed: answer.replayed,
        late: answer.late,
    }
}

/// Release.
pub(in crate::service) fn release(answer: &ReleaseAnswer) -> v1::ReleaseResponse {
    v1::ReleaseResponse { balance: Some(balance(&answer.balance)), replayed: answer.replayed }
}

/// Extend.
pub(in crate::service) fn extend(expires_at_ms: i64) -> v1::ExtendResponse {
    v1::ExtendResponse { expires_at: Some(moment(expires_at_ms)) }
}

/// GetReservation.
pub(in crate::service) fn get_reservation(team: &Id, id: &Id, reservation: &Reservation) -> v1::GetReservationResponse {
    let Reservation { content, terms, created_at_ms, expires_at_ms, state, settled_at_ms } = reservation;
    let optional = |id: &Option<Id>| id.as_ref().map_or_else(String::new, ToString::to_string);
    let credits = match state {
        State::Committed(charged) => charged.credits,
        State::Open | State::Released | State::Expired => terms.credits,
    };
    let reservation = v1::Reservation {
        team_id: team.to_string(),
        reservation_id: id.to_string(),
        state: reservation_state(state).into(),
        credits,
        basis: basis(terms.basis).into(),
        flow_id: content.flow.to_string(),
        run_id: optional(&content.run),
        block_id: optional(&content.block),
        model: content.model.to_string(),
        units: content.units,
        trigger: trigger(content.trigger).into(),
        rate_card: terms.rate_card.to_string(),
        cycle_start: Some(moment(terms.cycle.start_ms)),
        created_at: Some(moment(*created_at_ms)),
        expires_at: Some(moment(*expires_at_ms)),
        settled_at: settled_at_ms.map(moment),
    };
    v1::GetReservationResponse { reservation: Some(reservation) }
}

/// BeginRun.
pub(in crate::service) fn begin_run(answer: &BeginRunAnswer) -> v1::BeginRunResponse {
    use v1::begin_run_response::Decision;
    let decision = match &answer.decision {
        RunDecision::Admitted { expires_at_ms, replayed } => {
            Decision::Admitted(v1::RunAdmitted { expires_at: Some(moment(*expires_at_ms)), replayed: *replayed })
        }
        RunDecision::Suspend(refused) => Decision::Suspend(suspend(refused)),
    };
    v1::BeginRunResponse { decision: Some(decision), balance: Some(balance(&answer.balance)) }
}

/// EndRun.
pub(in crate::service) fn end_run(answer: EndRunAnswer) -> v1::EndRunResponse {
    v1::EndRunResponse { credits: answer.credits, replayed: answer.replayed }
}

fn proceed(granted: Proceed) -> v1::Proceed {
    let Proceed { id, reservation, grant, replayed } = granted;
    v1::Proceed {
        reservation_id: id.map_or_else(String::new, |id| id.to_string()),
        credits: reservation.terms.credits,
        expires_at: Some(moment(reservation.expires_at_ms)),
        basis: basis(reservation.terms.basis).into(),
        rate_card: reservation.terms.rate_card.to_string(),
        grant,
        replayed,
        state: reservation_state(&reservation.state).into(),
    }
}

fn suspend(refused: &SuspendAnswer) -> v1::Suspend {
    let SuspendAnswer { suspension, retry_after_ms } = refused;
    let retry_after = moment(*retry_after_ms);
    v1::Suspend {
        reason: suspend_reason(suspension.reason).into(),
        resumes_at: Some(moment(suspension.resumes_at_ms)),
        retry_after: Some(Duration { seconds: retry_after.seconds, nanos: retry_after.nanos }),
        remedies: suspension.remedies.iter().map(|lifts| remedy(*lifts).into()).collect(),
        message: suspension.message(),
    }
}

fn reservation_state(state: &State) -> v1::ReservationState {
    match state {
        State::Open => v1::ReservationState::Open,
        State::Committed(_) => v1::ReservationState::Committed,
        State::Released => v1::ReservationState::Released,
        State::Expired => v1::ReservationState::Expired,
    }
}

fn basis(basis: Basis) -> v1::Basis {
    match basis {
        Basis::Allotment => v1::Basis::Allotment,
        Basis::Overage => v1::Basis::Overage,
        Basis::RunCompletion => v1::Basis::RunCompletion,
    }
}

fn suspend_reason(reason: Reason) -> v1::SuspendReason {
    match reason {
        Reason::LimitReached => v1::SuspendReason::LimitReached,
        Reason::BlocksStopped => v1::SuspendReason::BlocksStopped,
        Reason::RunCeilingReached => v1::SuspendReason::RunCeilingReached,
        Reason::OverageCapReached => v1::SuspendReason::OverageCapReached,
    }
}

fn remedy(remedy: Remedy) -> v1::Remedy {
    match remedy {
        Remedy::WaitForNextCycle => v1::Remedy::WaitForNextCycle,
        Remedy::EnableOverages => v1::Remedy::EnableOverages,
        Remedy::RaiseOverageCap => v1::Remedy::RaiseOverageCap,
        Remedy::UpgradePlan => v1::Remedy::UpgradePlan,
    }
}
