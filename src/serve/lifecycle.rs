//! The life of a sidecar: its start, its health, and its shutdown.

pub(super) mod demo;
mod drain;
mod health;
mod startup_banner;
mod startup_retry;

pub use self::startup_banner::StartupBanner;
pub(super) use self::{health::Health, startup_retry::patiently};
