//! Gates that answer from leases: two or three on one store, with clocks that the tests move.

mod clocks;
mod counted;
mod cycles;
mod ends;
mod guards;
mod opening;
mod recalls;
mod runs;
mod settling;
mod stage;
mod twice;
