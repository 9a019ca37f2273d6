//! Compares the books of the gates with those of the model.

use super::{super::books::Books, Answers, Runner, id, model_id, page};

impl Runner {
    /// Compares the counters. Until a sweep, what is held may include holds that are due. With leases, it includes what
    /// is leased until that is returned.
    pub(super) async fn compare_books(&self, swept: bool) -> Result<(), String> {
        let answer =
            self.gates[self.asked].usage(&self.team, None, &page()).await.map_err(|error| error.to_string())?;
        let account = answer.balance.account;
        let mut expected = self.model.books();
        let held = account.held + account.leased;
        if !swept || (self.answers == Answers::FromLeases && held >= expected.held) {
            expected.held = held;
        }
        let actual = Books {
            included: account.included,
            waived: account.waived,
            blocks: account.blocks,
            used: account.used,
            run_completion: account.run_completion,
            above_hold: account.above_hold,
            held,
        };
        if account.used > account.allotment() {
            return Err(format!("used is above the allotment: {account:?}"));
        }
        if (actual == expected) && account.cycle == self.model.cycle() {
            Ok(())
        } else {
            Err(format!(
                "  rules: {expected:?} in {:?}\n  gate:  {actual:?} in {:?}",
                self.model.cycle(),
                account.cycle
            ))
        }
    }

    pub(super) async fn compare_usage(&self) -> Result<(), String> {
        let mut starts: Vec<i64> = self.model.usage.keys().map(|key| key.0).collect();
        starts.dedup();
        for start_ms in starts {
            let answer = self.gates[self.asked]
                .usage(&self.team, Some(start_ms), &page())
                .await
                .map_err(|error| error.to_string())?;
            let actual: Vec<_> = answer
                .rows
                .items
                .into_iter()
                .map(|(key, counts)| {
                    let key = (key.day, key.flow.to_string(), key.model.to_string(), key.trigger);
                    (key, (counts.calls, counts.units, counts.credits))
                })
                .collect();
            let rows = self.model.usage.iter().filter(|(key, _)| key.0 == start_ms);
            let mut expected: Vec<_> = rows
                .map(|((_, day, flow, model, trigger), counts)| {
                    ((day.clone(), id("flow", *flow).to_string(), model_id(*model).to_string(), *trigger), *counts)
                })
                .collect();
            expected.sort();
            if actual != expected {
                return Err(format!("usage of {start_ms}\n  rules: {expected:?}\n  gate:  {actual:?}"));
            }
        }
        Ok(())
    }

    pub(super) async fn compare_charges(&self) -> Result<(), String> {
        let charges = self.gates[self.asked]
            .charges(Some(&self.team), None, &page())
            .await
            .map_err(|error| error.to_string())?
            .items;
        let actual: Vec<_> = charges.iter().map(|charge| (charge.cycle_start_ms, i64::from(charge.block))).collect();
        let expected: Vec<_> = self
            .model
            .blocks()
            .into_iter()
            .flat_map(|(start_ms, blocks)| (1..=blocks).map(move |block| (start_ms, block)))
            .collect();
        if actual == expected { Ok(()) } else { Err(format!("charges\n  rules: {expected:?}\n  gate:  {actual:?}")) }
    }
}
