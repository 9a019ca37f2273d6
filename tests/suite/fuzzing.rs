//! The fuzz targets of `fuzz/src` as ordinary tests: the stored corpus, the seeds, and some hundred mutations of both.

#[path = "../../fuzz/src/lib.rs"]
pub(super) mod targets;

use std::{fs, path::Path};

use proptest::{
    sample::Index,
    strategy::{Strategy, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use targets::{calendar, calls, configuration, grants, pages, records};

/// A fuzz target: its name, its check, and its seeds.
struct Target {
    name: &'static str,
    check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// One mutation of an input.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8),
    /// The rest of the input is replaced by a part of another input.
    Splice(Index, Index, Index),
}

/// Byte strings at or just beyond common limits.
const TOKENS: [&[u8]; 12] = [
    b"",
    b"|",
    b",",
    b"-",
    b"0",
    b"+1",
    b"70368744177664",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"\0",
    "é".as_bytes(),
    &[0xff; 10],
];

fn mutation() -> impl Strategy<Value = Mutation> {
    use proptest::prelude::{any, prop_oneof};
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Mutation::Set(place, byte)),
        (any::<Index>(), any::<Index>())
            .prop_map(|(place, token)| Mutation::Insert(place, token.get(&TOKENS).to_vec())),
        (any::<Index>(), 1..16_u8).prop_map(|(place, length)| Mutation::Remove(place, length)),
        (any::<Index>(), 1..64_u8).prop_map(|(place, length)| Mutation::Repeat(place, length)),
        (any::<Index>(), any::<Index>(), any::<Index>())
            .prop_map(|(place, other, from)| Mutation::Splice(place, other, from)),
    ]
}

fn mutated(mut input: Vec<u8>, mutations: &[Mutation], inputs: &[Vec<u8>]) -> Vec<u8> {
    for mutation in mutations {
        // One past the end is a position too.
        let place = |place: &Index, length: usize| place.index(length + 1);
        match mutation {
            Mutation::Set(at, byte) if !input.is_empty() => *at.get_mut(&mut input) = *byte,
            Mutation::Set(_, byte) => input.push(*byte),
            Mutation::Insert(at, bytes) => {
                let at = place(at, input.len());
                input.splice(at..at, bytes.iter().copied());
            }
            Mutation::Remove(at, length) => {
                let at = place(at, input.len());
                input.drain(at..input.len().min(at + usize::from(*length)));
            }
            Mutation::Repeat(at, length) => {
                let at = place(at, input.len());
                let repeated = input[at..input.len().min(at + usize::from(*length))].to_vec();
                input.splice(at..at, repeated);
            }
            Mutation::Splice(at, other, from) => {
                let other = other.get(inputs);
                input.truncate(place(at, input.len()));
                input.extend_from_slice(&other[place(from, other.len())..]);
            }
        }
    }
    input
}

impl Target {
    /// Checks all inputs, and this many mutations of them. The mutations are the same each time.
    fn check(&self, mutations: usize) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(self.name);
        let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "no corpus in {}", directory.display());
        let mut inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        inputs.extend((self.seeds)());
        inputs.iter().for_each(|input| (self.check)(input));

        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let strategy = (proptest::prelude::any::<Index>(), proptest::collection::vec(mutation(), 1..6));
        for _ in 0..mutations {
            let (chosen, mutations) = strategy.new_tree(&mut runner).unwrap().current();
            (self.check)(&mutated(chosen.get(&inputs).clone(), &mutations, &inputs));
        }
    }
}

/// Any bytes as requests are answered or refused, and the books stay right.
#[test]
fn any_request_bytes_leave_the_books_right() {
    Target { name: "calls", check: calls::check, seeds: calls::seeds }.check(300);
}

#[test]
fn any_bytes_as_a_grant_change_no_answer() {
    Target { name: "grants", check: grants::check, seeds: grants::seeds }.check(100);
}

/// Any text as a page token is refused, or names a position in its list.
#[test]
fn any_page_token_is_refused_or_names_a_position() {
    Target { name: "pages", check: pages::check, seeds: pages::seeds }.check(500);
}

/// Any text as a record is refused, or read and written back unchanged.
#[test]
fn any_record_text_is_refused_or_written_back_unchanged() {
    Target { name: "records", check: records::check, seeds: records::seeds }.check(5_000);
}

#[test]
fn billing_cycles_are_those_that_a_walk_from_day_to_day_finds() {
    Target { name: "calendar", check: calendar::check, seeds: calendar::seeds }.check(200);
}

/// Any text as configuration is understood or refused, and neither answer contains a password.
#[test]
fn any_configuration_text_is_read_or_refused() {
    Target { name: "configuration", check: configuration::check, seeds: configuration::seeds }.check(2_000);
}
