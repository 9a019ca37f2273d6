//! Leases with real sidecars on a real server: what is answered from memory is in the books once, whoever dies or hangs meanwhile,
//! and nothing is above the allotment, or left lying in a lease while somebody is suspended.

mod answered;
mod chaos;
mod executor;
mod fleet;
mod last_credit;
mod ledger;
mod outage;
mod sampler;
mod torment;
