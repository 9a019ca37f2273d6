//! A gate on a memory store whose clock stands still, with teams in every plan and state that a rule distinguishes.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tollgate::{
    clock::{Clock, ManualClock},
    domain::{id::Id, plan::Plan, reservation::Trigger, terms_change::TeamSettings},
    gate::{
        Gate, GateOptions,
        calls::{ActualUse, Page, ReserveAnswer, ReserveCall, SettleCall},
    },
    store::{Store, StoreLocation, StoreOptions},
};

/// 2026-01-30T22:00:00Z: two hours before an anchor day of 31 turns.
pub const START_MS: i64 = 1_769_810_400_000;

/// A gate, and the clock that it shares with its store.
pub struct World {
    pub gate: Arc<Gate>,
    pub clock: ManualClock,
    runtime: Runtime,
}

impl World {
    /// Returns a world without teams.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let clock = ManualClock::at(START_MS);
        let gate = runtime.block_on(async {
            let manual = Clock::Manual(clock.clone());
            let options = StoreOptions { clock: manual.clone(), ..StoreOptions::default() };
            let store = Store::open(&StoreLocation::Memory, options).await.unwrap();
            Gate::open(store, GateOptions { clock: manual, ..GateOptions::default() }).await.unwrap()
        });
        Self { gate, clock, runtime }
    }

    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Creates a team with anchor day 31.
    pub fn put_team(&self, team: &str, plan: Plan, paid_seat: bool, included: i64) {
        let settings = TeamSettings { plan, paid_seat, anchor_day: 31, included_override: Some(included) };
        self.wait_for(self.gate.put_team(&id(team), &settings, "fuzz")).unwrap();
    }

    pub fn reserve(&self, team: &str, reservation: &str, model: &str, units: u32, trigger: Trigger) -> ReserveAnswer {
        let call = ReserveCall {
            team: id(team),
            flow: id("flow"),
            // A run lasts one day.
            run: Some(id(&format!("run-{}", self.clock.now_ms() / 86_400_000))),
            block: Some(id("block")),
            reservation: Some(id(reservation)),
            model: id(model),
            units,
            trigger,
            hold_ms: 120_000,
            dry_run: false,
        };
        self.wait_for(self.gate.check_and_reserve(call)).unwrap()
    }

    pub fn commit(&self, team: &str, reservation: &str) {
        self.wait_for(self.gate.commit(settle(team, reservation), ActualUse::default())).unwrap();
    }

    /// Checks the books of up to a hundred teams: used is within the allotment, and no counter is negative.
    pub fn check_books(&self) {
        let page = Page { size: 100, token: String::new() };
        for (team, _) in self.wait_for(self.gate.teams(&page)).unwrap().items {
            let account = self.wait_for(self.gate.usage(&team, None, &page)).unwrap().balance.account;
            assert!(account.used <= account.allotment(), "{team}: {account:?}");
            let counters = [
                account.included,
                account.waived,
                account.blocks,
                account.used,
                account.run_completion,
                account.above_hold,
                account.held,
                account.leased,
            ];
            assert!(counters.iter().all(|counter| *counter >= 0), "{team}: {account:?}");
        }
    }

    /// Checks that nothing is held after every hold has run out and the sweeper has run.
    pub fn check_that_holds_come_back(&self) {
        let page = Page { size: 100, token: String::new() };
        let teams = self.wait_for(self.gate.teams(&page)).unwrap().items;
        let starts: Vec<i64> = teams
            .iter()
            .map(|(team, _)| self.wait_for(self.gate.usage(team, None, &page)).unwrap().balance.account.cycle.start_ms)
            .collect();
        self.clock.advance_ms(25 * 3_600_000);
        self.wait_for(self.gate.sweep()).unwrap();
        for ((team, _), start_ms) in teams.iter().zip(starts) {
            for at_ms in [Some(start_ms), None] {
                let Ok(usage) = self.wait_for(self.gate.usage(team, at_ms, &page)) else { continue };
                assert_eq!(usage.balance.account.held, 0, "{team}: {:?}", usage.balance.account);
            }
        }
    }
}

pub fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// Returns a call that settles a reservation without its grant.
pub fn settle(team: &str, reservation: &str) -> SettleCall {
    SettleCall { team: id(team), reservation: id(reservation), grant: bytes::Bytes::new() }
}
