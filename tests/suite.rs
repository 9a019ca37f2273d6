//! Every test that runs against real stores, servers and clients: one crate, so that it is linked once.

mod suite {
    mod stores;
    mod support;
}
