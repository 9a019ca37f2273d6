//! Horizontal bars of block characters.

/// The characters of a small bar: a full cell, then one to seven eighths of a cell.
const EIGHTHS: [char; 8] = ['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Returns whether a character belongs to a small bar.
pub(super) fn is_bar(character: char) -> bool {
    EIGHTHS.contains(&character)
}

/// Returns a bar for a part of a whole. The whole would fill `cells` cells. A part above 0 has at least an eighth of a cell.
pub(super) fn bar(part: i64, whole: i64, cells: usize) -> String {
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

/// Divides cells among the parts of a whole, in proportion and rounded. The result adds up to `cells`. A part above 0 gets at
/// least one cell, and a part of 0 gets none.
pub(super) fn divide(parts: &[i64], cells: usize) -> Vec<usize> {
    let sum: i64 = parts.iter().map(|part| (*part).max(0)).fold(0, i64::saturating_add);
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let mut shares: Vec<usize> =
        parts.iter().map(|part| if *part > 0 { proportion(*part, sum, cells).max(1) } else { 0 }).collect();
    // Rounding errors are corrected in the longest part, where they are least visible.
    loop {
        let assigned: usize = shares.iter().sum();
        let Some(longest) = shares.iter_mut().max() else { break };
        if assigned < cells {
            *longest += cells - assigned;
        } else if assigned > cells && *longest > 1 {
            *longest -= 1;
        } else {
            break;
        }
    }
    shares
}

/// Returns how many of `cells` cells a part of a whole fills, rounded.
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
        for (part, whole, expected) in table {
            assert_eq!(bar(part, whole, 10), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn cells_are_divided_by_share() {
        assert_eq!(divide(&[50, 25, 25], 8), [4, 2, 2]);
        assert_eq!(divide(&[1, 1, 1], 10), [3, 3, 4]);
        assert_eq!(divide(&[999_999, 1, 0], 10), [9, 1, 0]);
        assert_eq!(divide(&[0, 0], 10), [0, 0]);
        assert_eq!(divide(&[], 10), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_cell_is_assigned_and_every_part_is_visible(parts in prop::collection::vec(-5..i64::MAX / 8, 1..7), cells in 7_usize..200) {
            let shares = divide(&parts, cells);
            let any = parts.iter().any(|part| *part > 0);
            prop_assert_eq!(shares.iter().sum::<usize>(), if any { cells } else { 0 });
            for (part, share) in parts.iter().zip(&shares) {
                prop_assert_eq!(*part > 0, *share > 0);
            }
        }

        #[test]
        fn a_larger_part_never_has_a_shorter_bar(one in 0..1_000_i64, other in 0..1_000_i64) {
            let length = |part| bar(part, 1_000, 20).chars().count();
            prop_assert!((one <= other) <= (length(one) <= length(other)));
        }
    }
}
