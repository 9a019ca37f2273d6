//! A model of the lease protocol, searched whole.
mod books;
mod request;
mod search;
mod shelf;
mod state;
mod steps;

use tollgate::domain::{lease::LeaseTerms, policy::Policy};

use request::{Deed, Making};
use state::Left;

/// 2026-01-10T00:00:00Z: far from the ends of a cycle.
const START_MS: i64 = 1_768_003_200_000;

/// Time moves by so much.
const TICK_MS: i64 = 1_000;

/// A part of the protocol that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    NoRecordCheck,
    NoDeadline,
    NoQuarantine,
    Refills,
    TwoReadings,
    IdsComeAgain,
}

/// What there is, and how often what may happen.
#[derive(Clone, Debug)]
struct World {
    name: &'static str,
    sidecars: usize,
    allotment: i64,
    slice: i64,
    leases: u8,
    reservations: u8,
    ticks: i64,
    may: Left,
    deeds: &'static [Deed],
    forged: bool,
    sweeps_at_once: bool,
    terms: LeaseTerms,
    policy: Policy,
    mutation: Option<Mutation>,
}

const ALL: &[Deed] = &[Deed::Commit, Deed::CommitLate, Deed::Release, Deed::Expire, Deed::Extend, Deed::Record];

impl World {
    fn making(&self) -> Making {
        Making { allotment: self.allotment, slice: self.slice, terms: self.terms, policy: self.policy.clone(), mutation: self.mutation }
    }
    fn small() -> Self {
        Self {
            name: "small",
            sidecars: 2,
            allotment: 2,
            slice: 2,
            leases: 2,
            reservations: 2,
            ticks: 7,
            may: Left { draws: 2, crashes: 1, ..Left::default() },
            deeds: &[Deed::Commit, Deed::CommitLate, Deed::Release],
            forged: false,
            sweeps_at_once: false,
            terms: LeaseTerms { term_ms: 3_000, hold_ms: 2_000 },
            policy: Policy::default(),
            mutation: None,
        }
    }
}

#[test]
fn probe() {
    for depth in [4, 6, 8, 10, 12, 14, 16, 18] {
        let start = std::time::SystemTime::UNIX_EPOCH;
        let _ = start;
        let t = tollgate::clock::Clock::System.monotonic_ms();
        let found = World::small().search(depth);
        println!("{depth}: {} states {} stores whole {} {} ms {:?}", found.states, found.stores, found.is_whole, tollgate::clock::Clock::System.monotonic_ms() - t, found.fault);
        if found.is_whole || found.fault.is_some() || tollgate::clock::Clock::System.monotonic_ms() - t > 30_000 { break; }
    }
}
