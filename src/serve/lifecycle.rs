//! The life of a sidecar: what it prints when it starts, what its health reports, and how it shuts down.

pub(super) mod demo;
mod drain;
mod health;
mod startup_banner;
mod startup_retry;

pub use self::startup_banner::StartupBanner;
pub(super) use self::{
    health::Health,
    startup_retry::{open_store, with_retries},
};
