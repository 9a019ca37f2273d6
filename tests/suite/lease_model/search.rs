//! A search through every state that can be reached, the nearest first.

use std::{collections::HashSet, hash::BuildHasher as _};

use foldhash::quality::FixedState;

use super::{World, shelf::Shelf, state::Moment, steps::Step};

/// What a search has found.
#[derive(Debug)]
pub(super) struct Found {
    /// So many states were reached, of which none equals another.
    pub(super) states: usize,
    /// So many states of the store were among them.
    pub(super) stores: usize,
    /// So many steps the farthest is away.
    pub(super) depth: usize,
    /// So many of them were not looked at, as the search ended.
    pub(super) unseen: usize,
    /// The shortest way to something that must not be, and what is wrong then.
    pub(super) fault: Option<(Vec<Step>, String)>,
}

/// A state that is still to be looked at, and its place among the steps.
type Ahead = (usize, Moment);

impl World {
    /// Looks at every state that can be reached, or until something is wrong that is looked for. Where anything else is wrong, it goes
    /// no further.
    pub(super) fn search(&self, is_looked_for: impl Fn(&str) -> bool) -> Found {
        let mut shelf = Shelf::new(self.making());
        let hasher = FixedState::default();
        let beginning = self.beginning();
        let mut seen = HashSet::from([hasher.hash_one(&beginning)]);
        // What led to each state, and where in this list the state before it has its place.
        let mut steps = vec![(0, Step::Tick)];
        let mut ahead: Vec<Ahead> = vec![(0, beginning)];
        let mut reached = 0;
        while !ahead.is_empty() {
            let mut farther = Vec::new();
            for (place, moment) in ahead {
                for (step, after) in self.next(&moment, &mut shelf) {
                    let fault = match after {
                        Err(fault) => fault,
                        Ok(after) if !seen.insert(hasher.hash_one(&after)) => continue,
                        Ok(after) => match self.fault(&after, &shelf) {
                            Some(fault) => fault,
                            None => {
                                steps.push((place, step));
                                farther.push((steps.len() - 1, after));
                                continue;
                            }
                        },
                    };
                    if !is_looked_for(&fault) {
                        continue;
                    }
                    let fault = Some((way(&steps, place, step), fault));
                    return Found {
                        states: seen.len(),
                        stores: shelf.len(),
                        depth: reached + 1,
                        unseen: farther.len(),
                        fault,
                    };
                }
            }
            ahead = farther;
            reached += 1;
        }
        Found { states: seen.len(), stores: shelf.len(), depth: reached, unseen: ahead.len(), fault: None }
    }
}

fn way(steps: &[(usize, Step)], mut place: usize, last: Step) -> Vec<Step> {
    let mut way = vec![last];
    while place != 0 {
        let (before, step) = steps[place];
        way.push(step);
        place = before;
    }
    way.reverse();
    way
}
