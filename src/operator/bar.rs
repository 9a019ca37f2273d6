//! Bars of block characters.

/// What a small bar is made of: from a whole cell to an eighth of one.
const EIGHTHS: [char; 8] = ['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Whether a character belongs to a small bar.
pub(super) fn is_bar(character: char) -> bool {
    EIGHTHS.contains(&character)
}

/// A bar as long as a part of a whole, which would fill so many cells. Anything above 0 shows.
pub(super) fn small(part: i64, whole: i64, cells: usize) -> String {
    if part <= 0 || whole <= 0 {
        return String::new();
    }
    let eighths = (proportion(part, whole, cells * 8)).max(1);
    let mut bar: String = std::iter::repeat_n(EIGHTHS[0], eighths / 8).collect();
    match eighths % 8 {
        0 => {}
        rest => bar.push(EIGHTHS[rest]),
    }
    bar
}

/// Divides so many cells among parts of a whole, so that each gets its share, rounded, and all cells are given away. A part above 0
/// gets a cell at least, one of 0 gets none.
pub(super) fn divided(parts: &[i64], cells: usize) -> Vec<usize> {
    let sum: i64 = parts.iter().map(|part| (*part).max(0)).fold(0, i64::saturating_add);
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let mut shares: Vec<usize> =
        parts.iter().map(|part| if *part > 0 { proportion(*part, sum, cells).max(1) } else { 0 }).collect();
    // What rounding gave too much or too little is made up where it shows least: at the longest.
    loop {
        let given: usize = shares.iter().sum();
        let Some(longest) = shares.iter_mut().max() else { break };
        if given < cells {
            *longest += cells - given;
        } else if given > cells && *longest > 1 {
            *longest -= 1;
        } else {
            break;
        }
    }
    shares
}

/// How many of so many cells a part of a whole is, rounded.
fn proportion(part: i64, whole: i64, cells: usize) -> usize {
    let (part, whole, cells) = (i128::from(part.min(whole)), i128::from(whole), cells as i128);
    usize::try_from((part * cells * 2 + whole) / (whole * 2)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_bar_is_exact_to_an_eighth_of_a_cell() {
        let table = [
            (0, 100, ""),
            (-1, 100, ""),
            (1, 0, ""),
            (1, 1_000_000, "▏"),
            (50, 100, "█████"),
            (55, 100, "█████▌"),
            (99, 100, "█████████▉"),
            (100, 100, "██████████"),
            (200, 100, "██████████"),
            (i64::MAX, i64::MAX, "██████████"),
        ];
        for (part, whole, bar) in table {
            assert_eq!(small(part, whole, 10), bar, "{part} of {whole}");
        }
    }

    #[test]
    fn cells_are_divided_by_share() {
        assert_eq!(divided(&[50, 25, 25], 8), [4, 2, 2]);
        assert_eq!(divided(&[1, 1, 1], 10), [3, 3, 4]);
        assert_eq!(divided(&[999_999, 1, 0], 10), [9, 1, 0]);
        assert_eq!(divided(&[0, 0], 10), [0, 0]);
        assert_eq!(divided(&[], 10), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_cell_is_given_away_and_what_is_there_shows(parts in prop::collection::vec(-5..i64::MAX / 8, 1..7), cells in 7_usize..200) {
            let shares = divided(&parts, cells);
            let there = parts.iter().any(|part| *part > 0);
            prop_assert_eq!(shares.iter().sum::<usize>(), if there { cells } else { 0 });
            for (part, share) in parts.iter().zip(&shares) {
                prop_assert_eq!(*part > 0, *share > 0);
            }
        }

        #[test]
        fn a_larger_part_never_has_a_shorter_bar(one in 0..1_000_i64, other in 0..1_000_i64) {
            let length = |part| small(part, 1_000, 20).chars().count();
            prop_assert!((one <= other) <= (length(one) <= length(other)));
        }
    }
}
