//! An option value that can be a number or the word `none`.

use std::str::FromStr;

/// A value to set, or `none` to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|value| Self(Some(value))).map_err(|_| "expected a number or none".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_none_is_accepted() {
        assert_eq!("7".parse(), Ok(OrNone(Some(7_u32))));
        assert_eq!("none".parse(), Ok(OrNone::<u32>(None)));
        for text in ["", "-1", "None", "4294967296", "1.5"] {
            assert!(text.parse::<OrNone<u32>>().is_err(), "{text}");
        }
    }
}
