//! Bounds the size of a reply, so that a server that is broken or hostile cannot make the sidecar's memory grow without
//! bound. The parser of the `redis` crate buffers a reply until it is complete, however large it is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum size of a reply, in bytes. Up to 64 transactions share a reply. Most need a few hundred bytes, and the largest,
/// a page of the audit log with rate cards, less than 1 MiB.
const MAX_REPLY_BYTES: usize = 16 << 20;

/// Maximum size of a line, in bytes. Lines are short: lengths, numbers, and error messages, which the log may contain.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Maximum number of values in a reply. Replies of the script have a single one, because they are packed into a string.
/// `CONFIG GET` returns a few.
const MAX_REPLY_VALUES: u64 = 4_096;

/// Number of bytes of a line that are kept: the type of the value, and a number.
const HEADER_BYTES: usize = 32;

/// A stream that fails as soon as a reply is too large.
pub(super) struct LimitedReplies<S> {
    stream: S,
    meter: ReplyMeter,
}

impl<S> LimitedReplies<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, meter: ReplyMeter::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedReplies<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(this.meter.count(new).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedReplies<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Why the connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ReplyError {
    #[error("the server sent a reply of more than {MAX_REPLY_BYTES} bytes or {MAX_REPLY_VALUES} values")]
    TooLarge,
    #[error("the server sent a malformed reply")]
    Malformed,
}

/// Finds the end of each reply in a stream of bytes, and counts the bytes and values of the present one.
///
/// It must find the same ends as the parser of the `redis` crate. Otherwise the parser may still buffer a reply whose
/// end was counted here. So what the parser might read differently is an error.
#[derive(Default)]
struct ReplyMeter {
    /// Bytes of the present reply.
    bytes: usize,
    /// Values of the present reply that were announced.
    values: u64,
    /// Values of the present reply that are still incomplete. 0 between two replies.
    incomplete: u64,
    position: Position,
}

/// What comes next in the stream.
#[derive(Clone, Copy)]
enum Position {
    /// A line, of which this many bytes were read.
    Line { header: [u8; HEADER_BYTES], length: usize, last: u8 },
    /// This number of bytes of a string, its line break included.
    Text { bytes_left: usize },
}

impl Default for Position {
    fn default() -> Self {
        Self::Line { header: [0; HEADER_BYTES], length: 0, last: 0 }
    }
}

impl ReplyMeter {
    /// Counts the next bytes of the stream.
    fn count(&mut self, mut bytes: &[u8]) -> Result<(), ReplyError> {
        while let Some(&first) = bytes.first() {
            let read = match &mut self.position {
                Position::Text { bytes_left } => {
                    let read = bytes.len().min(*bytes_left);
                    *bytes_left -= read;
                    self.bytes += read;
                    if *bytes_left == 0 {
                        self.end_value();
                    }
                    read
                }
                Position::Line { header, length, last } => {
                    if let Some(place) = header.get_mut(*length) {
                        *place = first;
                    }
                    *length += 1;
                    self.bytes += 1;
                    let is_end = *last == b'\r' && first == b'\n';
                    *last = first;
                    if *length > MAX_LINE_BYTES {
                        return Err(ReplyError::TooLarge);
                    }
                    if is_end {
                        let (header, length) = (*header, *length);
                        self.end_line(header.get(..length).unwrap_or(&header), length)?;
                    }
                    1
                }
            };
            if self.bytes > MAX_REPLY_BYTES {
                return Err(ReplyError::TooLarge);
            }
            bytes = bytes.get(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Interprets a line of `length` bytes, of which `header` is the beginning.
    fn end_line(&mut self, header: &[u8], length: usize) -> Result<(), ReplyError> {
        let number = || -> Result<i64, ReplyError> {
            let digits = header.get(1..length.saturating_sub(2)).ok_or(ReplyError::Malformed)?;
            let digits = std::str::from_utf8(digits).map_err(|_| ReplyError::Malformed)?;
            digits.trim().parse().map_err(|_| ReplyError::Malformed)
        };
        if self.incomplete == 0 {
            (self.incomplete, self.values) = (1, 1);
        }
        match header.first().ok_or(ReplyError::Malformed)? {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => self.end_value(),
            b'$' | b'*' | b'~' if number()? < 0 => self.end_value(),
            b'$' | b'!' | b'=' => {
                let text_bytes = usize::try_from(number()?).map_err(|_| ReplyError::Malformed)?;
                if text_bytes > MAX_REPLY_BYTES {
                    return Err(ReplyError::TooLarge);
                }
                self.position = Position::Text { bytes_left: text_bytes + 2 };
            }
            b'*' | b'~' | b'>' => self.end_aggregate(number()?, 1, 0)?,
            b'%' => self.end_aggregate(number()?, 2, 0)?,
            // Attributes are followed by the value that they describe.
            b'|' => self.end_aggregate(number()?, 2, 1)?,
            _ => return Err(ReplyError::Malformed),
        }
        Ok(())
    }

    /// Ends the line that announces `length` entries of `each` values, and `more` values.
    fn end_aggregate(&mut self, length: i64, each: u64, more: u64) -> Result<(), ReplyError> {
        let length = u64::try_from(length).map_err(|_| ReplyError::Malformed)?;
        let announced = length.saturating_mul(each).saturating_add(more);
        self.values = self.values.saturating_add(announced);
        if self.values > MAX_REPLY_VALUES {
            return Err(ReplyError::TooLarge);
        }
        self.incomplete += announced;
        self.end_value();
        Ok(())
    }

    fn end_value(&mut self) {
        self.position = Position::default();
        self.incomplete = self.incomplete.saturating_sub(1);
        if self.incomplete == 0 {
            (self.bytes, self.values) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how the meter stands after `stream`, which it reads in chunks of this number of bytes.
    fn counted(stream: &str, chunk_bytes: usize) -> Result<(usize, u64), ReplyError> {
        let mut meter = ReplyMeter::default();
        stream.as_bytes().chunks(chunk_bytes).try_for_each(|chunk| meter.count(chunk))?;
        Ok((meter.bytes, meter.incomplete))
    }

    #[test]
    fn the_end_of_each_reply_is_found() {
        let replies = [
            "+OK\r\n",
            "-ERR a\nb\rc\r\n",
            ":1\r\n",
            "$4\r\n\r\n\r\n\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "|1\r\n+a\r\n:1\r\n:2\r\n",
            "=5\r\ntxt:x\r\n",
            "_\r\n",
        ];
        for reply in replies {
            for chunk_bytes in 1..=reply.len() {
                let twice = reply.repeat(2);
                assert_eq!(counted(&twice, chunk_bytes), Ok((0, 0)), "{reply:?}");
            }
            let part = reply.get(..reply.len() - 1).unwrap();
            assert_ne!(counted(part, 1).unwrap().0, 0, "{reply:?}");
        }
    }

    #[test]
    fn a_reply_beyond_the_limits_is_an_error() {
        let line = format!("+{}", "x\n".repeat(MAX_LINE_BYTES / 2));
        let long = format!(
            "*3\r\n{}",
            format!("${0}\r\n{1}\r\n", MAX_REPLY_BYTES / 2, "x".repeat(MAX_REPLY_BYTES / 2)).repeat(2)
        );
        let nested = "*100\r\n".repeat(1_000);
        let too_large = ["$17000000\r\n", "*5000\r\n", "%3000\r\n", "|9223372036854775807\r\n", &line, &long, &nested];
        for stream in too_large {
            assert_eq!(counted(stream, 8_192), Err(ReplyError::TooLarge), "{:?}", stream.get(..20));
        }
        let padded = format!("${}1\r\n", "0".repeat(40));
        for stream in ["=-1\r\n", "!-1\r\n", "%-1\r\n", "$x\r\n", "$\r\n", "\r\n", "x\r\n", &padded] {
            assert_eq!(counted(stream, 8_192), Err(ReplyError::Malformed), "{stream:?}");
        }
    }
}
