//! A call of QuotaService without what tonic has for every kind of call: one message is asked, one is answered, and both are whole.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use tonic::Status;

use crate::{call_refusal::CallRefusal, service::QuotaApi};

/// Of a message, a flag that says that it is not compressed, and its length.
const PREFIX: usize = 5;

/// A method of QuotaService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum QuotaMethod {
    /// CheckAndReserve.
    CheckAndReserve,
    /// Commit.
    Commit,
    /// Release.
    Release,
    /// Extend.
    Extend,
    /// GetReservation.
    GetReservation,
    /// BeginRun.
    BeginRun,
    /// EndRun.
    EndRun,
}

impl QuotaMethod {
    /// The method that a request's path names.
    pub(in crate::serve) fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/tollgate.v1.QuotaService/")? {
            "CheckAndReserve" => Self::CheckAndReserve,
            "Commit" => Self::Commit,
            "Release" => Self::Release,
            "Extend" => Self::Extend,
            "GetReservation" => Self::GetReservation,
            "BeginRun" => Self::BeginRun,
            "EndRun" => Self::EndRun,
            _ => return None,
        })
    }
}

/// Answers a message with one, which has its prefix.
///
/// # Errors
/// The method's, and [`CallRefusal::Undecodable`].
pub(in crate::serve) async fn answer(quota: QuotaApi, method: QuotaMethod, message: Bytes) -> Result<Bytes, Status> {
    // Those that are seldom called do not make room for the others larger.
    match method {
        QuotaMethod::CheckAndReserve => quota.check_and_reserve(decoded(message)?).await.map(framed),
        QuotaMethod::Commit => quota.commit(decoded(message)?).await.map(framed),
        QuotaMethod::Release => Box::pin(quota.release(decoded(message)?)).await.map(framed),
        QuotaMethod::Extend => Box::pin(quota.extend(decoded(message)?)).await.map(framed),
        QuotaMethod::GetReservation => Box::pin(quota.get_reservation(decoded(message)?)).await.map(framed),
        QuotaMethod::BeginRun => Box::pin(quota.begin_run(decoded(message)?)).await.map(framed),
        QuotaMethod::EndRun => Box::pin(quota.end_run(decoded(message)?)).await.map(framed),
    }
}

fn decoded<Asked: Message + Default>(message: Bytes) -> Result<Asked, Status> {
    Asked::decode(message).map_err(|error| CallRefusal::undecodable(&error.to_string()).into())
}

fn framed<Answered: Message>(answer: Answered) -> Bytes {
    let length = answer.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    // An answer is far below 4 GiB.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer.encode_raw(&mut framed);
    framed.freeze()
}
