//! The calls of executors. Each is carried out by the part that its body names.

use super::{
    Gate,
    calls::{
        ActualUse, BeginRunAnswer, CommitAnswer, EndRunAnswer, ReleaseAnswer, ReserveAnswer, ReserveCall, SettleCall,
    },
    error::GateError,
};
use crate::domain::{id::Id, reservation::Reservation};

impl Gate {
    /// Holds the credits of one call, or suspends the call. A suspension is an answer, not an error.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub fn check_and_reserve(
        &self,
        call: ReserveCall,
    ) -> impl Future<Output = Result<ReserveAnswer, GateError>> + Send + '_ {
        self.reservations.check_and_reserve(call)
    }

    /// Finalizes the cost of a reservation. It is carried out even if the caller goes away.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub fn commit(
        &self,
        call: SettleCall,
        actual: ActualUse,
    ) -> impl Future<Output = Result<CommitAnswer, GateError>> + Send + '_ {
        self.settlements.commit(call, actual)
    }

    /// Gives the credits of a reservation back. It is carried out even if the caller goes away.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub fn release(&self, call: SettleCall) -> impl Future<Output = Result<ReleaseAnswer, GateError>> + Send + '_ {
        self.settlements.release(call)
    }

    /// Holds the credits of a reservation longer. Returns when the hold runs out, in Unix milliseconds.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub async fn extend(&self, call: SettleCall, hold_ms: i64) -> Result<i64, GateError> {
        self.settlements.extend(call, hold_ms).await
    }

    /// Returns a reservation as it stands now.
    ///
    /// # Errors
    /// [`GateError::ReservationNotFound`], [`GateError::TeamNotFound`], and the store's.
    pub async fn reservation(&self, team: &Id, id: &Id) -> Result<Reservation, GateError> {
        self.reservations.reservation(team, id).await
    }

    /// Makes a run current, if there is room for one credit. A suspension is an answer, not an error.
    ///
    /// # Errors
    /// Any [`GateError`] that keeps the gate from a verified answer.
    pub async fn begin_run(&self, team: &Id, flow: &Id, run: &Id) -> Result<BeginRunAnswer, GateError> {
        self.runs.begin(team, flow, run).await
    }

    /// Ends a run, and returns what it has committed.
    ///
    /// # Errors
    /// [`GateError::RunNotFound`], [`GateError::TeamNotFound`], and any that keeps the gate from a verified answer.
    pub async fn end_run(&self, team: &Id, run: &Id) -> Result<EndRunAnswer, GateError> {
        self.runs.end(team, run).await
    }
}
