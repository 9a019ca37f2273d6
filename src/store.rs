//! Placeholder until the stores land.
#![allow(missing_docs)]
use crate::{
    clock::Clock,
    transaction::{Reply, Transaction},
};
use std::path::PathBuf;
#[derive(Clone, Debug)]
pub struct Store;
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be reached")]
    Unavailable,
    #[error("too many calls")]
    Overloaded,
    #[error("fault")]
    Fault,
}
#[derive(Debug, thiserror::Error)]
#[error("cannot open the store")]
pub struct OpenError;
#[derive(Clone, Debug)]
pub enum StoreLocation {
    Memory,
    Embedded(PathBuf),
    Redis(String),
}
impl std::str::FromStr for StoreLocation {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self::Memory)
    }
}
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    pub clock: Clock,
    pub require_aof: bool,
}
impl Store {
    pub async fn open(_: &StoreLocation, _: StoreOptions) -> Result<Self, OpenError> {
        Ok(Self)
    }
    pub async fn transact(&self, _: Transaction) -> Result<Reply, StoreError> {
        Err(StoreError::Unavailable)
    }
    pub async fn transact_all(&self, _: Vec<Transaction>) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        Err(StoreError::Unavailable)
    }
    pub fn durability(&self) -> String {
        String::new()
    }
    pub async fn close(&self) {}
}
