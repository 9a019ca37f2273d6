//! All tests that run real stores, servers and clients. They are one crate, which is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where a step that it relies on fails")]

mod suite {
    mod access;
    mod configuration;
    mod contention;
    mod crashes;
    mod documentation;
    mod escrow;
    mod examples;
    mod freshness;
    mod fuzzing;
    mod gates;
    mod house;
    mod lease_model;
    mod leases_at_gates;
    mod listeners;
    mod logs;
    mod metrics;
    mod one_call;
    mod operator;
    mod probes;
    mod process;
    mod properties;
    mod python;
    mod refused_stores;
    mod reloads;
    mod replay;
    mod replay_for_real;
    mod restarts;
    mod startup_wait;
    mod store_faults;
    mod stores;
    mod stories;
    mod support;
    mod traces;
    mod wire;
}
