//! Leases with real sidecars on a real server. Each call that is answered from memory is recorded exactly once, although
//! sidecars die or hang. Nothing exceeds the allotment, and no credits stay in a lease while calls are suspended.

mod answers;
mod chaos;
mod executor;
mod faults;
mod fleet;
mod last_credit;
mod ledger;
mod outage;
mod sampler;
