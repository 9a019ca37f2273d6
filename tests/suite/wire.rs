//! Malformed requests over the wire: each field of each rpc with invalid values, and with values at the edge of what is valid. A
//! new field of the contract that no table names fails `fields`.
//!
//! The expectations come from the contract. Each service has its table, and `requests` sends the rows to a real sidecar.

mod account;
mod fields;
mod quota;
mod requests;
mod table;
mod usage;
