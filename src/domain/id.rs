//! Ids that callers choose, checked before they can become part of a key.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// The most bytes an id has.
pub const MAX_ID_LENGTH: usize = 128;

/// An id of a team, flow, run, block, reservation, model or rate card: `[A-Za-z0-9._:-]{1,128}`.
///
/// The alphabet has no separator that keys and packed records use, so that an id can stand in them as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

/// The text is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_ID_LENGTH`].
    #[error("must have at most {MAX_ID_LENGTH} characters")]
    TooLong,
    /// A character outside the alphabet.
    #[error("may only have letters, digits and . _ : -")]
    Character,
}

impl Id {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > MAX_ID_LENGTH {
            return Err(InvalidId::TooLong);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(InvalidId::Character);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
