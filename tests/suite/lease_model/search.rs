//! A breadth-first search of all states that can be reached.

use std::{collections::HashSet, hash::BuildHasher as _};

use foldhash::quality::FixedState;

use super::{World, state::ModelState, steps::Step, store_states::StoreStates};

/// The result of a search.
#[derive(Debug)]
pub(super) struct SearchResult {
    /// Number of different states that were reached.
    pub(super) states: usize,
    /// Number of different states of the store among them.
    pub(super) stores: usize,
    /// Number of steps to the farthest state.
    pub(super) depth: usize,
    /// Number of states that were reached and not visited when the search ended.
    pub(super) unvisited: usize,
    /// The shortest path to a wrong state, and what is wrong in it.
    pub(super) fault: Option<(Vec<Step>, String)>,
}

/// A state that was not visited yet, and its index in the list of steps.
type Pending = (usize, ModelState);

impl World {
    /// Visits all states that can be reached, until it finds a fault that `is_wanted`. The search does not continue
    /// from a state with another fault.
    pub(super) fn search(&self, is_wanted: impl Fn(&str) -> bool) -> SearchResult {
        let mut stores = StoreStates::new(self.setup());
        let hasher = FixedState::default();
        let first_state = self.first_state();
        let mut seen = HashSet::from([hasher.hash_one(&first_state)]);
        // The step that led to each state, and the index of the state before it in this list.
        let mut steps = vec![(0, Step::Tick)];
        let mut pending_states: Vec<Pending> = vec![(0, first_state)];
        let mut depth = 0;
        while !pending_states.is_empty() {
            let mut next_pending = Vec::new();
            for (index, state) in pending_states {
                for (step, after) in self.next(&state, &mut stores) {
                    let fault = match after {
                        Err(fault) => fault,
                        Ok(after) if !seen.insert(hasher.hash_one(&after)) => continue,
                        Ok(after) => match self.fault(&after, &stores) {
                            Some(fault) => fault,
                            None => {
                                steps.push((index, step));
                                next_pending.push((steps.len() - 1, after));
                                continue;
                            }
                        },
                    };
                    if !is_wanted(&fault) {
                        continue;
                    }
                    let fault = Some((path(&steps, index, step), fault));
                    return SearchResult {
                        states: seen.len(),
                        stores: stores.len(),
                        depth: depth + 1,
                        unvisited: next_pending.len(),
                        fault,
                    };
                }
            }
            pending_states = next_pending;
            depth += 1;
        }
        SearchResult { states: seen.len(), stores: stores.len(), depth, unvisited: pending_states.len(), fault: None }
    }
}

fn path(steps: &[(usize, Step)], mut index: usize, last: Step) -> Vec<Step> {
    let mut path = vec![last];
    while index != 0 {
        let (before, step) = steps[index];
        path.push(step);
        index = before;
    }
    path.reverse();
    path
}
