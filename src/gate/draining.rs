//! Whether the sidecar is shutting down, so that it must not begin reservations or runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::error::GateError;

/// A switch that all parts of a gate share. Once it is on, it stays on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    /// Switches it on.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Checks that the sidecar is not shutting down.
    ///
    /// # Errors
    /// [`GateError::Draining`] if it is.
    pub(crate) fn refuse(&self) -> Result<(), GateError> {
        if self.0.load(Ordering::SeqCst) { Err(GateError::Draining) } else { Ok(()) }
    }
}
