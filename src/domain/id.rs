//! IDs chosen by callers. They are checked before they become part of a key.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// Maximum length of an ID, in bytes.
pub const MAX_ID_LENGTH: usize = 128;

/// An ID of a team, flow, run, block, reservation, model or rate card: `[A-Za-z0-9._:-]{1,128}`.
///
/// The alphabet contains none of the separators of keys and packed records, so an ID can be part of them without
/// escaping.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

/// Why a text is not an ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than [`MAX_ID_LENGTH`].
    #[error("must have at most {MAX_ID_LENGTH} characters")]
    TooLong,
    /// The text has a character outside the alphabet.
    #[error("must contain only letters, digits and . _ : -")]
    Character,
}

impl Id {
    /// Checks a text and makes it an ID.
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

    /// Returns the ID as text.
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
