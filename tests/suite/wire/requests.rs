//! Sends the rows of the tables to a sidecar.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tollgate::{
    address::ListenAddress,
    proto::v1::{
        CheckAndReserveResponse, GetTeamRequest, GetUsageRequest, ListChargesRequest, ListRateCardsRequest,
        ListTeamsRequest, Trigger, check_and_reserve_response::Decision,
    },
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use tonic_types::StatusExt as _;

use super::{
    super::{
        fuzzing::targets::raw,
        stories::stage::{Stage, TEAM, Verb as _, check_refusal, professional, violated_field},
    },
    account, quota,
    table::{Expected, Row, Table},
    usage,
};

/// A sidecar, a connection to each of its listeners, and the number of connections made.
struct Sidecar {
    stage: Stage,
    data: Channel,
    admin: Channel,
    connections: Arc<AtomicUsize>,
}

impl Sidecar {
    /// Starts a sidecar with a team that has usage, an overage block, open reservations and a run.
    fn start() -> Self {
        let stage = Stage::set(professional().with_seat().including(1_000));
        stage.put(professional().with_seat().including(1_000_000).of("other"));
        stage.overages_on();
        stage.reserve("bought").test().units(60).answer();
        stage.commit("bought").charges(1_500);
        stage.begin_run(quota::RUN).admits();
        for id in [quota::OPEN, "other", "spare"] {
            stage.reserve(id).answer();
        }
        let connections = Arc::new(AtomicUsize::new(0));
        let data = stage.wait_for(connect(stage.sidecar.listen_address(), &connections));
        let admin = stage.wait_for(connect(stage.sidecar.admin_address(), &connections));
        Self { stage, data, admin, connections }
    }

    fn call(&self, path: &'static str, request: Bytes) -> Result<Bytes, Status> {
        let channel = if path.contains("QuotaService") { &self.data } else { &self.admin };
        self.stage.wait_for(raw::call(channel.clone(), path, request))
    }

    /// Returns everything that the services report about the team and about what all teams share.
    fn books(&self) -> String {
        let (mut accounts, mut usage) = (self.stage.accounts.clone(), self.stage.usage.clone());
        let team_id = || TEAM.to_owned();
        let reservations = [quota::OPEN, "other", "spare", "bought"].map(|id| self.stage.look_up(id).unwrap());
        self.stage.wait_for(async move {
            let usage_of = GetUsageRequest { team_id: team_id(), ..GetUsageRequest::default() };
            let reported = (
                usage.get_usage(usage_of).await.unwrap().into_inner(),
                usage.list_charges(ListChargesRequest::default()).await.unwrap().into_inner(),
                accounts.get_team(GetTeamRequest { team_id: team_id() }).await.unwrap().into_inner(),
                accounts.list_teams(ListTeamsRequest::default()).await.unwrap().into_inner(),
                accounts.list_rate_cards(ListRateCardsRequest::default()).await.unwrap().into_inner(),
            );
            format!("{reported:#?}\n{reservations:#?}")
        })
    }

    /// Returns what is wrong with the response to a row, if anything.
    fn check(&self, row: &Row) -> Option<String> {
        let answer = self.call(row.path, row.request.clone()).map(|_| ());
        let problem = match (row.expected, &answer) {
            (Expected::Answered, Ok(())) => return None,
            (Expected::Refused(reason), Err(status)) => {
                wrong_status(status, Code::InvalidArgument, reason, Some(row.field))
            }
            (Expected::Fails(code, reason), Err(status)) => wrong_status(status, code, reason, None),
            _ => Some(format!("{answer:?}")),
        };
        let problem = problem?;
        Some(format!("{} with {} {}: {:?} was expected: {problem}", row.path, row.field, row.value, row.expected))
    }

    /// Asserts that the sidecar still serves valid calls on the same connections.
    fn serves(&self) {
        let request = tollgate::proto::v1::CheckAndReserveRequest {
            reservation_id: String::new(),
            trigger: Trigger::Test.into(),
            ..quota::reserve()
        };
        let answer = self.call(quota::RESERVE, request.encode_to_vec().into()).unwrap();
        let decision = CheckAndReserveResponse::decode(answer).unwrap().decision;
        assert!(matches!(decision, Some(Decision::Proceed(_))), "{decision:?}");
        assert_eq!(self.connections.load(Ordering::SeqCst), 2, "a connection was lost");
    }
}

/// Returns a channel that counts how often it connects.
async fn connect(address: &ListenAddress, connections: &Arc<AtomicUsize>) -> Channel {
    let (address, connections) = (address.to_string(), Arc::clone(connections));
    let connector = tower::service_fn(move |_: Uri| {
        connections.fetch_add(1, Ordering::SeqCst);
        let address = address.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://sidecar").connect_with_connector(connector).await.unwrap()
}

/// Returns what is wrong with a refusal, if anything.
fn wrong_status(status: &Status, code: Code, reason: &str, field: Option<&str>) -> Option<String> {
    let info = status.get_details_error_info();
    let named = info.as_ref().map(|info| (info.domain.as_str(), info.reason.as_str()));
    if (status.code(), named) != (code, Some(("tollgate", reason))) {
        return Some(format!("{status:?}"));
    }
    check_refusal(status, code, reason);
    field
        .map(|_| violated_field(status))
        .filter(|named| Some(named.as_str()) != field)
        .map(|named| format!("names {named}"))
}

fn table(rows: fn(&mut Table)) -> Table {
    let mut table = Table::default();
    rows(&mut table);
    table
}

/// Sends first the rows that must change nothing, and then those that may.
fn check(rows: fn(&mut Table)) {
    let table = table(rows);
    let sidecar = Sidecar::start();
    let before = sidecar.books();
    let answered = |row: &&Row| matches!(row.expected, Expected::Answered);
    let mut problems: Vec<_> =
        table.rows.iter().filter(|row| !answered(row)).filter_map(|row| sidecar.check(row)).collect();
    assert!(before == sidecar.books(), "before {before}\nafter {}", sidecar.books());
    sidecar.serves();

    problems.extend(table.rows.iter().filter(answered).filter_map(|row| sidecar.check(row)));
    for (path, request) in table.honest {
        let answer = sidecar.call(path, request);
        assert!(answer.is_ok(), "{path}: {answer:?}");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    sidecar.serves();
}

#[test]
fn each_field_of_quota_requests_is_checked_and_named() {
    check(quota::rows);
}

#[test]
fn each_field_of_account_requests_is_checked_and_named() {
    check(account::rows);
}

#[test]
fn each_field_of_usage_requests_is_checked_and_named() {
    check(usage::rows);
}

/// Returns a message with this many bytes in a field that the contract does not have.
fn of_unknown_fields(bytes: usize) -> Bytes {
    let mut message = vec![0xfa, 0x3f];
    prost::encoding::encode_varint(u64::try_from(bytes).unwrap(), &mut message);
    message.resize(message.len() + bytes, 0);
    message.into()
}

#[test]
fn a_message_of_a_mebibyte_is_invalid() {
    let table = table(|table| [quota::rows, account::rows, usage::rows].into_iter().for_each(|rows| rows(table)));
    let sidecar = Sidecar::start();
    let before = sidecar.books();
    for (path, _) in &table.honest {
        check_callers_fault(path, sidecar.call(path, of_unknown_fields(1 << 20)));
    }
    assert!(before == sidecar.books(), "before {before}\nafter {}", sidecar.books());
    sidecar.serves();
}

fn check_callers_fault(path: &str, answer: Result<Bytes, Status>) {
    let status = answer.expect_err(path);
    check_refusal(&status, Code::InvalidArgument, "INVALID_FIELD");
}

#[test]
fn a_field_of_a_later_contract_is_ignored() {
    let table = table(|table| [quota::rows, account::rows, usage::rows].into_iter().for_each(|rows| rows(table)));
    let sidecar = Sidecar::start();
    for (path, honest) in table.honest {
        let answer = sidecar.call(path, [honest, of_unknown_fields(1_000)].concat().into());
        assert!(answer.is_ok(), "{path}: {answer:?}");
    }
}

/// Bytes that are not a message: a truncated number, a truncated text, a text that is not UTF-8, an open group, a field without a
/// number, and a field of an unknown type.
const NO_MESSAGES: [&[u8]; 6] =
    [&[0x80], &[0x0a, 0x7f, b'a'], &[0x0a, 0x02, 0xc3, 0x28], &[0x0b, 0x08, 0x01], &[0x00, 0x00], &[0x0f]];

#[test]
fn bytes_that_are_not_a_request_are_invalid() {
    let table = table(|table| [quota::rows, account::rows, usage::rows].into_iter().for_each(|rows| rows(table)));
    let sidecar = Sidecar::start();
    let before = sidecar.books();
    for (path, honest) in &table.honest {
        for bytes in NO_MESSAGES {
            check_callers_fault(path, sidecar.call(path, Bytes::from_static(bytes)));
            check_callers_fault(path, sidecar.call(path, [honest, bytes].concat().into()));
        }
    }
    assert!(before == sidecar.books(), "before {before}\nafter {}", sidecar.books());
    sidecar.serves();
}
