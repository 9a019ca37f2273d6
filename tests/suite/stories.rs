//! Worked examples of the rules, with a real client and a real sidecar. Each line is an operation and its expected result. The
//! expectations come from the rules and the contract, never from the code.

mod audit;
mod contract;
mod cycles;
mod leaving;
mod limit;
mod listeners;
mod listing;
mod overages;
mod prices;
mod rate_cards;
mod repeats;
mod settlement;
pub(super) mod stage;
mod suspension;
mod terms;
mod unavailable;
