//! Connections: their bytes, what is known of each, and which one is closed when a listener is full.

mod connection_state;
mod http2_preface;
mod registry;
mod transport;

pub(super) use self::{
    connection_state::{ConnectionState, InFlightCall},
    registry::{ConnectionRegistry, RegisteredConnection},
    transport::Accepted,
};
