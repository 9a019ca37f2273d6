//! The executor example in Rust, beside a real sidecar. `python` runs the examples in Python.

#[path = "../../examples/executor.rs"]
#[allow(dead_code, reason = "only the example itself runs `main`")]
mod executor;

use tollgate::store::StoreLocation;

use self::executor::{Block, Outcome, connect, end_run, run_block};
use crate::suite::support::{client::team_without_seat, sidecar::Sidecar};

fn block(team: &str) -> Block {
    Block {
        team: team.to_owned(),
        flow: "flow".to_owned(),
        run: "run".to_owned(),
        block: "block".to_owned(),
        model: "gpt-4o".to_owned(),
    }
}

/// A block whose model answers is charged for the units that were used, and one whose model fails is not charged.
#[tokio::test]
async fn the_rust_executor_charges_only_what_it_used() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    let client = connect(sidecar.data()).unwrap();
    let used = run_block(&client, &block("demo-pro"), async { Ok(3) }).await.unwrap();
    assert!(matches!(used, Outcome::Charged(6)), "{used:?}");
    let failed = run_block(&client, &block("demo-pro"), async { Err("no answer".to_owned()) }).await.unwrap();
    assert!(matches!(failed, Outcome::Released), "{failed:?}");
    end_run(&client, "demo-pro", "run").await.unwrap();
    let balance = sidecar.client().books("demo-pro").await.balance;
    assert_eq!((balance.used, balance.held), (6, 0));
}

#[tokio::test]
async fn the_rust_executor_calls_no_model_when_suspended() {
    let sidecar = Sidecar::start(&StoreLocation::Memory);
    sidecar.client().put_team(team_without_seat("poor", 1)).await;
    let client = connect(sidecar.data()).unwrap();
    let outcome = run_block(&client, &block("poor"), async { panic!("the model is called") }).await.unwrap();
    let Outcome::Suspended(suspend) = outcome else { panic!("{outcome:?}") };
    assert_eq!(suspend.retry_after.unwrap().seconds, 30);
}
