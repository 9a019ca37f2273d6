//! Failures of the store: how soon a client gets an error and which, how soon it is served again, and that nothing is
//! lost or charged twice.

mod answers;
mod chaos;
mod disk;
mod endless_replies;
mod late_answers;
mod lost_clients;
mod outages;
mod stage;
