//! The token of the admin listener: reads it from its file, and checks it for each call.

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::ConstantTimeEq as _;

use super::{
    AccessError,
    reloaded::{NamedFile, Reloaded},
};
use crate::call_refusal::CallRefusal;

const SETTING: &str = "admin_token_file";

/// Maximum length of a token, which has to fit into the headers of a call.
const MAX_TOKEN_BYTES: usize = 4_096;

/// The token that calls have to send.
pub(in crate::serve) struct Token(Vec<u8>);

impl Token {
    /// Fails if a call has no token or another one. The comparison takes the same time however many bytes are right.
    pub(in crate::serve) fn check(&self, headers: &HeaderMap) -> Result<(), CallRefusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(CallRefusal::NoToken) };
        let Some(token) = bearer(value.as_bytes()) else { return Err(CallRefusal::NoToken) };
        if bool::from(token.ct_eq(&self.0)) { Ok(()) } else { Err(CallRefusal::WrongToken) }
    }

    fn parse(contents: &[u8]) -> Result<Self, &'static str> {
        let token = contents.trim_ascii();
        if token.is_empty() {
            return Err("is empty; write a token to it, better 32 random characters");
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err("holds a token of more than 4096 bytes; use a shorter one");
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(
                "holds more than one word, or characters that a header cannot have; a token is one word of ASCII",
            );
        }
        Ok(Self(token.to_owned()))
    }
}

/// Reads the token from its file, and again when the file changes.
pub(super) async fn read(path: PathBuf) -> Result<Arc<Reloaded<Token>>, AccessError> {
    let file = NamedFile { setting: SETTING, path };
    let make = |files: &[NamedFile], contents: &[Vec<u8>]| {
        let unusable = |cause: &str| AccessError::Unusable {
            setting: SETTING,
            file: files.first().map(|file| file.path.clone()).unwrap_or_default(),
            cause: cause.to_owned(),
        };
        Token::parse(contents.first().map_or(&[], Vec::as_slice)).map_err(unusable)
    };
    Reloaded::read("the token of the admin listener", vec![file], Box::new(make)).await
}

/// Returns what follows the word Bearer, in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call has to send the token of the file, without the line end.
    #[test]
    fn a_call_needs_exactly_the_token_of_the_file() {
        let token = Token::parse(b"  s3cret\n").unwrap();
        let check = |values: &[&str]| {
            let headers = values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap()));
            token.check(&headers.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            }))
        };
        assert_eq!(check(&["Bearer s3cret"]), Ok(()));
        assert_eq!(check(&["bearer  s3cret"]), Ok(()));
        for none in [&[][..], &["s3cret"], &["Basic s3cret"], &["Bearer"], &["Bearer s3cret", "Bearer s3cret"]] {
            assert_eq!(check(none), Err(CallRefusal::NoToken), "{none:?}");
        }
        for wrong in ["Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer S3CRET", "Bearer s3cret s3cret"] {
            assert_eq!(check(&[wrong]), Err(CallRefusal::WrongToken), "{wrong}");
        }
    }

    #[test]
    fn a_token_file_holds_one_word() {
        for contents in [&b""[..], b" \n", b"two words", b"two\nlines", b"\xff", &[b'x'; MAX_TOKEN_BYTES + 1]] {
            assert!(Token::parse(contents).is_err(), "{contents:?}");
        }
    }
}
