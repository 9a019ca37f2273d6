//! Finds the known name that an unknown name was probably meant to be.

/// Smallest Jaro-Winkler similarity that counts as a typing mistake.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the most similar known name, if one is similar enough. Case and `-` against `_` do not matter.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normalized = |text: &str| text.to_lowercase().replace('-', "_");
    let written = normalized(name);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&written, &normalized(candidate)), candidate))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_gets_a_suggestion() {
        let known = ["listen", "max_calls", "max_connections", "store", "store_wait"];
        for (name, suggestion) in [
            ("lisen", Some("listen")),
            ("max-connections", Some("max_connections")),
            ("MAX_CALL", Some("max_calls")),
            ("stroe", Some("store")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), suggestion, "{name}");
        }
    }
}
