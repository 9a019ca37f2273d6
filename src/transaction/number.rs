//! The numbers that a store keeps.

/// Limit on the magnitude of the integers that a store keeps. The Redis script computes with doubles, which are exact
/// up to 2^53; so sums of such numbers are exact too.
pub const NUMBER_LIMIT: i64 = 1 << 46;

/// Parses a number in exactly the form in which a store keeps it: decimal, without a plus sign or leading zeros, and
/// with a magnitude below [`NUMBER_LIMIT`]. Returns `None` for any other text.
pub fn parse_stored_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let in_form = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let number = text.parse().ok().filter(|_| in_form);
    number.filter(|number: &i64| number.unsigned_abs() < NUMBER_LIMIT.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_below_the_limit_is_parsed() {
        let (least, most) = (1 - NUMBER_LIMIT, NUMBER_LIMIT - 1);
        for number in [0, 1, -1, 10, 1_000, least, most] {
            assert_eq!(parse_stored_number(&number.to_string()), Some(number));
        }
        let beyond = [NUMBER_LIMIT.to_string(), (-NUMBER_LIMIT).to_string(), i64::MIN.to_string(), "9".repeat(30)];
        for text in ["", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1.0", "1e3", "0x1", "\u{661}"] {
            assert_eq!(parse_stored_number(text), None, "{text}");
        }
        for text in beyond {
            assert_eq!(parse_stored_number(&text), None, "{text}");
        }
    }
}
