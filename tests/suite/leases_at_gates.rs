//! What gates answer from leases: two or three of them on one store, with clocks that move when they are told to.

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
