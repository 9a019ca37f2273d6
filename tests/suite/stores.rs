//! Conformance tests: all stores give the same answers to the same transactions. Also tests of what a single kind of
//! store promises.

mod calls;
mod embedded;
mod fixture;
mod guards;
mod lanes;
mod lists;
mod options;
mod purging;
mod redis;
mod tls;
mod writes;
