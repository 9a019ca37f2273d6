//! The known name that an unknown one was probably meant to be.

/// Names that are less alike than this are no typing mistake.
const ALIKE: f64 = 0.8;

/// The nearest of the known names, if one is near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let written = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&written, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_recognized_and_another_word_is_not() {
        let known = ["listen", "max_calls", "max_connections", "store", "store_wait"];
        for (name, meant) in [
            ("lisen", Some("listen")),
            ("max-connections", Some("max_connections")),
            ("MAX_CALL", Some("max_calls")),
            ("stroe", Some("store")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
