//! The store in trouble: what a client is told, how soon, how soon it is served again, and that nothing is lost or charged
//! twice by it.

mod answers;
mod chaos;
mod disk;
mod outages;
mod stage;
mod vanished;
