//! Listeners: binding an address, accepting connections, and which services each listener has.

pub(super) mod file_descriptors;
mod http_settings;
mod listener;
mod probe;
mod server;
pub(super) mod services;
mod unix_socket;

pub(super) use self::{
    listener::{Listener, Reach},
    probe::{Probe, ProbeListener},
    server::ListenerServer,
    services::Services,
};
