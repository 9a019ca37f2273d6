//! Malformed requests, over the wire: each field of each rpc with everything that it must not be, and with what it may just
//! be. A field that the contract gains and no table names fails `fields`.
//!
//! What is expected comes from the contract. Each service has its table; `requests` holds them against a real sidecar.

mod account;
mod fields;
mod quota;
mod requests;
mod table;
mod usage;
