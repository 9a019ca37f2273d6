//! The first bytes of an HTTP/2 connection: a fixed preface and a SETTINGS frame. This module only checks whether they
//! have arrived; hyper checks their contents.

/// Length of the preface, and of a frame's header, whose first three bytes are the length of what follows.
const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const LENGTH_BYTES: usize = 3;

/// The protocols that a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Protocol {
    /// HTTP/2 only. Its connections begin with the preface.
    Http2,
    /// HTTP/1.1 or HTTP/2, as the client likes.
    Http1AndHttp2,
}

/// How much of the preface has arrived. If the listener speaks HTTP/1.1 too, the first byte completes the preface, because hyper
/// bounds how long the headers of HTTP/1.1 may take.
#[derive(Debug)]
pub(super) struct Http2Preface {
    protocol: Protocol,
    read: usize,
    first: u8,
    length: [u8; LENGTH_BYTES],
}

impl Http2Preface {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, read: 0, first: 0, length: [0; LENGTH_BYTES] }
    }

    /// Takes the next bytes of the connection, and returns whether the preface is complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match self.read {
                0 => self.first = *byte,
                at @ PREFACE_BYTES.. if at < PREFACE_BYTES + LENGTH_BYTES => self.length[at - PREFACE_BYTES] = *byte,
                _ => {}
            }
            self.read += 1;
            if self.is_complete() {
                return true;
            }
        }
        self.is_complete()
    }

    /// Returns what the client seems to speak instead, unless the preface is complete.
    pub(super) fn other_protocol(&self) -> Option<&'static str> {
        match (self.is_complete(), self.read, self.first) {
            (true, ..) => None,
            (_, 0, _) => Some("nothing"),
            (_, _, 0x16) => Some("TLS"),
            (_, _, b'A'..=b'Z') => Some("HTTP/1, or half a preface"),
            _ => Some("something else"),
        }
    }

    fn is_complete(&self) -> bool {
        if self.protocol == Protocol::Http1AndHttp2 {
            return self.read > 0;
        }
        let [high, middle, low] = self.length;
        let settings = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.read >= PREFACE_BYTES + FRAME_HEADER_BYTES + settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";

    /// The preface is complete with the last byte of the SETTINGS frame, wherever it is cut.
    #[test]
    fn the_preface_is_complete_with_its_last_byte() {
        for cut in 0..WHOLE.len() {
            let mut preface = Http2Preface::new(Protocol::Http2);
            assert!(!preface.read(&WHOLE[..cut]), "{cut}");
            assert!(preface.other_protocol().is_some());
            assert!(preface.read(&WHOLE[cut..]), "{cut}");
            assert_eq!(preface.other_protocol(), None);
        }
    }

    #[test]
    fn where_http1_is_spoken_the_first_byte_is_enough() {
        let mut preface = Http2Preface::new(Protocol::Http1AndHttp2);
        assert_eq!(preface.other_protocol(), Some("nothing"));
        assert!(preface.read(b"G"));
        assert_eq!(preface.other_protocol(), None);
    }

    #[test]
    fn another_protocol_is_recognized() {
        for (bytes, protocol) in [(&b""[..], "nothing"), (b"\x16\x03\x01", "TLS"), (b"\x00", "something else")] {
            let mut preface = Http2Preface::new(Protocol::Http2);
            preface.read(bytes);
            assert_eq!(preface.other_protocol(), Some(protocol));
        }
    }
}
