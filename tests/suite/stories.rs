//! The worked examples of the rules, told through a real client to a real sidecar: each line an operation and what is
//! expected of it. What is expected comes from the rules and the contract, never from the code.

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
