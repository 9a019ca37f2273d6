//! One suite for every store: the same transactions have the same answers, whatever keeps the records.

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
