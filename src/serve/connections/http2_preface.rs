//! The first bytes of an HTTP/2 connection: a fixed preface, and a SETTINGS frame. Only whether they have come is asked
//! here; whether they are right is hyper's to say.

/// The preface's length, and that of a frame's header, whose first three bytes are the length of what follows.
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const LENGTH: usize = 3;

/// How much of the greeting has come.
#[derive(Debug, Default)]
pub(in crate::serve) struct Http2Preface {
    read: usize,
    first: u8,
    length: [u8; LENGTH],
}

impl Http2Preface {
    /// Takes note of more bytes; whether the greeting is complete.
    pub(in crate::serve) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match self.read {
                0 => self.first = *byte,
                at @ PREFACE.. if at < PREFACE + LENGTH => self.length[at - PREFACE] = *byte,
                _ => {}
            }
            self.read += 1;
            if self.is_complete() {
                return true;
            }
        }
        self.is_complete()
    }

    /// What was spoken instead, if the greeting is not complete.
    pub(in crate::serve) fn spoke_instead(&self) -> Option<&'static str> {
        match (self.is_complete(), self.read, self.first) {
            (true, ..) => None,
            (_, 0, _) => Some("nothing"),
            (_, _, 0x16) => Some("TLS"),
            (_, _, b'A'..=b'Z') => Some("HTTP/1, or half a greeting"),
            _ => Some("something else"),
        }
    }

    fn is_complete(&self) -> bool {
        let [high, middle, low] = self.length;
        let settings = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.read >= PREFACE + FRAME_HEADER + settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64";

    #[test]
    fn the_greeting_is_complete_with_the_last_byte_of_the_settings_however_it_is_cut() {
        for cut in 0..WHOLE.len() {
            let mut greeting = Http2Preface::default();
            assert!(!greeting.read(&WHOLE[..cut]), "{cut}");
            assert!(greeting.spoke_instead().is_some());
            assert!(greeting.read(&WHOLE[cut..]), "{cut}");
            assert_eq!(greeting.spoke_instead(), None);
        }
    }

    #[test]
    fn what_was_spoken_instead_is_told() {
        for (bytes, spoken) in [(&b""[..], "nothing"), (b"\x16\x03\x01", "TLS"), (b"\x00", "something else")] {
            let mut greeting = Http2Preface::default();
            greeting.read(bytes);
            assert_eq!(greeting.spoke_instead(), Some(spoken));
        }
    }
}
