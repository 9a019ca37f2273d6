//! Connections: their bytes, their state, and which one is evicted when a listener is full.
//!
//! This module must not know what a call asks for.

mod connection_state;
mod http2_preface;
mod registry;
mod transport;

pub(super) use self::{
    connection_state::{ConnectionState, InFlightCall},
    http2_preface::Protocol,
    registry::{ConnectionRegistry, Eviction, RegisteredConnection},
    transport::Accepted,
};
