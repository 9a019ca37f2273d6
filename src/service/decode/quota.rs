//! Decodes requests of QuotaService.

use super::field::{hold_ms, id, optional_id, units, used_units};
use crate::{
    domain::{id::Id, reservation::Trigger},
    gate::{
        GateError,
        calls::{ActualUse, ReserveCall, SettleCall},
    },
    proto::v1,
};

/// CheckAndReserve.
pub(in crate::service) fn reserve(request: &v1::CheckAndReserveRequest) -> Result<ReserveCall, GateError> {
    let trigger = trigger(request.trigger)?;
    let of_run = |field, text: &str| match trigger {
        Trigger::Run => id(field, text).map(Some),
        Trigger::Test => optional_id(field, text),
    };
    Ok(ReserveCall {
        team: id("team_id", &request.team_id)?,
        flow: id("flow_id", &request.flow_id)?,
        run: of_run("run_id", &request.run_id)?,
        block: of_run("block_id", &request.block_id)?,
        reservation: optional_id("reservation_id", &request.reservation_id)?,
        model: id("model", &request.model)?,
        units: units(request.units)?,
        trigger,
        hold_ms: hold_ms(request.hold_for)?,
        dry_run: request.dry_run,
    })
}

/// Commit.
pub(in crate::service) fn commit(request: v1::CommitRequest) -> Result<(SettleCall, ActualUse), GateError> {
    let actual = ActualUse {
        units: request.units.map(used_units).transpose()?,
        model: request.model.map(|model| id("model", &model)).transpose()?,
    };
    Ok((settle(&request.team_id, &request.reservation_id, request.grant)?, actual))
}

/// Release.
pub(in crate::service) fn release(request: v1::ReleaseRequest) -> Result<SettleCall, GateError> {
    settle(&request.team_id, &request.reservation_id, request.grant)
}

/// Extend. Returns the reservation, and the milliseconds from now to hold it for.
pub(in crate::service) fn extend(request: v1::ExtendRequest) -> Result<(SettleCall, i64), GateError> {
    let call = settle(&request.team_id, &request.reservation_id, request.grant)?;
    Ok((call, hold_ms(request.hold_for)?))
}

/// GetReservation. Returns the team and the reservation.
pub(in crate::service) fn get_reservation(request: &v1::GetReservationRequest) -> Result<(Id, Id), GateError> {
    Ok((id("team_id", &request.team_id)?, id("reservation_id", &request.reservation_id)?))
}

/// BeginRun. Returns the team, the flow and the run.
pub(in crate::service) fn begin_run(request: &v1::BeginRunRequest) -> Result<(Id, Id, Id), GateError> {
    Ok((id("team_id", &request.team_id)?, id("flow_id", &request.flow_id)?, id("run_id", &request.run_id)?))
}

/// EndRun. Returns the team and the run.
pub(in crate::service) fn end_run(request: &v1::EndRunRequest) -> Result<(Id, Id), GateError> {
    Ok((id("team_id", &request.team_id)?, id("run_id", &request.run_id)?))
}

fn settle(team_id: &str, reservation_id: &str, grant: bytes::Bytes) -> Result<SettleCall, GateError> {
    Ok(SettleCall { team: id("team_id", team_id)?, reservation: id("reservation_id", reservation_id)?, grant })
}

fn trigger(trigger: i32) -> Result<Trigger, GateError> {
    match v1::Trigger::try_from(trigger) {
        Ok(v1::Trigger::Unspecified | v1::Trigger::Run) => Ok(Trigger::Run),
        Ok(v1::Trigger::Test) => Ok(Trigger::Test),
        Err(_) => Err(GateError::invalid("trigger", "must be TRIGGER_RUN or TRIGGER_TEST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::CheckAndReserveRequest {
        v1::CheckAndReserveRequest {
            team_id: "team".into(),
            flow_id: "flow".into(),
            run_id: "run".into(),
            block_id: "block".into(),
            model: "gpt-4o".into(),
            ..Default::default()
        }
    }

    fn field_of<T: std::fmt::Debug>(result: Result<T, GateError>) -> String {
        match result {
            Err(GateError::InvalidField { field, .. }) => field,
            other => panic!("no field is invalid: {other:?}"),
        }
    }

    #[test]
    fn absent_fields_have_the_contracts_defaults() {
        let call = reserve(&request()).unwrap();
        assert_eq!(call.units, 1);
        assert_eq!(call.hold_ms, 120_000);
        assert_eq!(call.trigger, Trigger::Run);
        assert_eq!(call.reservation, None);
        assert!(!call.dry_run);
    }

    #[test]
    fn a_violation_names_its_field() {
        type Spoil = fn(&mut v1::CheckAndReserveRequest);
        let table: [(&str, Spoil); 13] = [
            ("team_id", |request| request.team_id.clear()),
            ("team_id", |request| request.team_id = "a|b".into()),
            ("team_id", |request| request.team_id = "a".repeat(129)),
            ("flow_id", |request| request.flow_id.clear()),
            ("run_id", |request| request.run_id.clear()),
            ("block_id", |request| request.block_id.clear()),
            ("run_id", |request| {
                request.trigger = v1::Trigger::Test as i32;
                request.run_id = "a b".into();
            }),
            ("reservation_id", |request| request.reservation_id = "é".into()),
            ("model", |request| request.model.clear()),
            ("units", |request| request.units = 10_001),
            ("trigger", |request| request.trigger = 3),
            ("trigger", |request| request.trigger = -1),
            ("hold_for", |request| request.hold_for = Some(prost_types::Duration { seconds: 0, nanos: 0 })),
        ];
        for (field, spoil) in table {
            let mut request = request();
            spoil(&mut request);
            assert_eq!(field_of(reserve(&request)), field);
        }
    }

    #[test]
    fn a_test_needs_no_run_and_no_block() {
        let trigger = v1::Trigger::Test as i32;
        let call = reserve(&v1::CheckAndReserveRequest {
            run_id: String::new(),
            block_id: String::new(),
            trigger,
            ..request()
        });
        let call = call.unwrap();
        assert_eq!((call.run, call.block, call.trigger), (None, None, Trigger::Test));
    }

    #[test]
    fn a_commit_distinguishes_0_units_from_none() {
        let request =
            |units| v1::CommitRequest { team_id: "t".into(), reservation_id: "r".into(), units, ..Default::default() };
        for units in [None, Some(0), Some(10_000)] {
            assert_eq!(commit(request(units)).unwrap().1.units, units);
        }
        assert_eq!(field_of(commit(request(Some(10_001)))), "units");
    }

    #[test]
    fn only_check_and_reserve_needs_no_reservation_id() {
        let team_id = || "t".to_owned();
        assert_eq!(field_of(commit(v1::CommitRequest { team_id: team_id(), ..Default::default() })), "reservation_id");
        assert_eq!(
            field_of(release(v1::ReleaseRequest { team_id: team_id(), ..Default::default() })),
            "reservation_id"
        );
        assert_eq!(field_of(extend(v1::ExtendRequest { team_id: team_id(), ..Default::default() })), "reservation_id");
        let get = v1::GetReservationRequest { team_id: team_id(), ..Default::default() };
        assert_eq!(field_of(get_reservation(&get)), "reservation_id");
    }
}
