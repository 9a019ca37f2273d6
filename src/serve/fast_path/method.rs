//! The methods of QuotaService: decodes a request message, calls the method, and encodes its response message.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use tonic::Status;

use crate::{call_refusal::CallRefusal, service::QuotaApi};

/// Bytes before a gRPC message: a flag, which is 0 for an uncompressed message, and its length.
const PREFIX_BYTES: usize = 5;

/// A method of QuotaService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuotaMethod {
    CheckAndReserve,
    Commit,
    Release,
    Extend,
    GetReservation,
    BeginRun,
    EndRun,
}

impl QuotaMethod {
    /// Returns the method that a request's path names.
    pub(super) fn of(path: &str) -> Option<Self> {
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

/// Answers a request message with a response message, which has its gRPC prefix.
///
/// # Errors
/// The method's errors, and [`CallRefusal::Undecodable`].
pub(super) async fn answer(quota: QuotaApi, method: QuotaMethod, message: Bytes) -> Result<Bytes, Status> {
    // The less frequent methods are boxed, so that they do not make the future of the others larger.
    match method {
        QuotaMethod::CheckAndReserve => quota.check_and_reserve(decode(message)?).await.map(frame),
        QuotaMethod::Commit => quota.commit(decode(message)?).await.map(frame),
        QuotaMethod::Release => Box::pin(quota.release(decode(message)?)).await.map(frame),
        QuotaMethod::Extend => Box::pin(quota.extend(decode(message)?)).await.map(frame),
        QuotaMethod::GetReservation => Box::pin(quota.get_reservation(decode(message)?)).await.map(frame),
        QuotaMethod::BeginRun => Box::pin(quota.begin_run(decode(message)?)).await.map(frame),
        QuotaMethod::EndRun => Box::pin(quota.end_run(decode(message)?)).await.map(frame),
    }
}

fn decode<Request: Message + Default>(message: Bytes) -> Result<Request, Status> {
    Request::decode(message).map_err(|error| CallRefusal::undecodable(&error.to_string()).into())
}

fn frame<Response: Message>(response: Response) -> Bytes {
    let length = response.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    // A response is far below 4 GiB.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    response.encode_raw(&mut framed);
    framed.freeze()
}
