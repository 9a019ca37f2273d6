//! Settings of HTTP for the connections of a listener.

use hyper::server::conn::http2;
use hyper_util::{rt::TokioTimer, server::conn::auto};

use crate::serve::{fast_path::InlineExecutor, limits::Limits};

/// Window of a stream: how much of a request the client may send before it is read. This is the default of HTTP/2. Requests are
/// small and are read as they arrive.
const STREAM_WINDOW_BYTES: u32 = 65_535;

/// Window of a connection, for each call that it may have in flight. h2 takes many small unread frames for an attack, once they
/// stand for more than half of the window at up to 256 bytes each. So this is twice what honest calls need that all come at once.
const CONNECTION_WINDOW_BYTES_PER_CALL: u32 = 1_024;

/// The largest window of HTTP/2.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// How much of a response may wait to be sent.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Returns the settings of a listener that speaks HTTP/2 only.
pub(super) fn http2(limits: &Limits, executor: InlineExecutor) -> http2::Builder<InlineExecutor> {
    let mut http2 = http2::Builder::new(executor);
    http2
        .timer(TokioTimer::new())
        // gRPC clients do not use the date, which would cost time and bytes in each response.
        .auto_date_header(false)
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(limits.max_calls_per_connection)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(connection_window(limits.max_calls_per_connection))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    http2
}

/// Returns the settings of a listener that speaks HTTP/1.1 too. A client of HTTP/1.1 has `handshake_timeout` to send the headers
/// of each request.
pub(super) fn http1_and_http2(limits: &Limits, executor: InlineExecutor) -> auto::Builder<InlineExecutor> {
    let mut http = auto::Builder::new(executor);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_buf_size(usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX));
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(limits.max_calls_per_connection)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    http
}

fn connection_window(calls: u32) -> u32 {
    calls.saturating_mul(CONNECTION_WINDOW_BYTES_PER_CALL).clamp(STREAM_WINDOW_BYTES, MAX_WINDOW_BYTES)
}
