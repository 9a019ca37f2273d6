//! The steps that can happen next, and what must be true after each.

use tollgate::domain::{
    OVERAGE_BLOCK_CREDITS,
    account::Account,
    billing_cycle::Cycle,
    reservation::{Basis, State},
};

use super::{
    JUMP_MS, START_MS, TICK_MS, World,
    books::{Books, LeaseRecord, MAX_NUMBER},
    mutation::Mutation,
    request::{Answer, Assumed, Change, Opened, Recorded, Request},
    state::{Budget, End, HeldLease, LeaseRequest, ModelState, Remainder, Sidecar},
    store_states::StoreStates,
};

/// A step. The numbers identify a sidecar, a lease or a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// The store's clock is set forward.
    Jump,
    /// A sidecar requests a lease of a cycle and forgets its previous request.
    Ask(usize, u8, u8),
    /// A sidecar stops drawing from all its leases.
    RemoveLeases(usize),
    /// A sidecar reads its clock for a call and is paused.
    Pause(usize),
    /// A sidecar opens a reservation from a lease.
    Draw(usize, u8),
    Crash(usize),
    /// Only if leases can be refilled: the reply to a request for more reaches the sidecar a second time.
    ReceiveRefill(usize),
    /// A request reaches the store, and its reply is lost.
    Store(Request, Answer),
    /// A request reaches the store, and its reply reaches the sidecar. A late reply needs no step of its own, because
    /// the sidecar may act on it at any time.
    Answered(usize, Request, Answer),
}

/// A step and the state after it, or what is wrong then.
pub(super) type Next = (Step, Result<ModelState, String>);

impl World {
    /// Returns the first state.
    pub(super) fn first_state(&self) -> ModelState {
        let made_up = |(lease, cycle)| {
            let recorded = Recorded {
                reservation: MAX_NUMBER - 1,
                credits: self.allotment,
                cycle,
                basis: Basis::Allotment,
                created_ms: START_MS,
                expires_ms: START_MS + 4 * TICK_MS,
            };
            Opened { lease, recorded }
        };
        let all = (0..self.leases).flat_map(|lease| (0..self.cycles()).map(move |cycle| (lease, cycle)));
        ModelState {
            now_ms: START_MS,
            jumped_ms: 0,
            store: 0,
            sidecars: vec![Sidecar::default(); self.sidecars],
            requested: Vec::new(),
            remainders: Vec::new(),
            opened: if self.has_made_up_grants { all.map(made_up).collect() } else { Vec::new() },
            recorded: Vec::new(),
            expired: Vec::new(),
            ends: [None; MAX_NUMBER as usize],
            charged: [0; 2],
            budget: Budget { refills: u8::from(self.mutation == Some(Mutation::Immutability)), ..self.budget },
        }
    }

    /// Returns everything that can happen in a state.
    pub(super) fn next(&self, state: &ModelState, stores: &mut StoreStates) -> Vec<Next> {
        let mut next = Vec::new();
        let ticks = (0..=self.ticks).map(|tick| tick * TICK_MS);
        let mut times = ticks.chain(self.later_times_ms.iter().copied()).map(|after_ms| START_MS + after_ms);
        if let Some(sidecar_ms) = times.find(|at_ms| state.sidecar_ms() < *at_ms) {
            next.push((Step::Tick, Ok(ModelState { now_ms: sidecar_ms + state.jumped_ms, ..state.clone() })));
        }
        if state.budget.jumps > 0 {
            let mut after = state.clone();
            after.budget.jumps -= 1;
            after.jumped_ms += JUMP_MS;
            after.now_ms += JUMP_MS;
            next.push((Step::Jump, Ok(after)));
        }
        for (place, sidecar) in state.sidecars.iter().enumerate() {
            // Sidecars in the same state do the same.
            if place == 0 || state.sidecars[place - 1] != *sidecar {
                self.steps_of(state, place, stores, &mut next);
            }
        }
        for request in self.requests(state, stores) {
            if let Some((answer, after)) = self.after_request(state, request, stores) {
                granted(request, answer, &after, stores, &mut next);
                next.push((Step::Store(request, answer), after));
            }
        }
        next.into_iter().map(|(step, after)| (step, after.map(|after| after.in_order(stores.setup())))).collect()
    }

    /// Adds the steps that a sidecar can take by itself.
    fn steps_of(&self, state: &ModelState, place: usize, stores: &StoreStates, next: &mut Vec<Next>) {
        let sidecar = &state.sidecars[place];
        let mut add = |step, change: &dyn Fn(&mut ModelState, &mut Sidecar)| {
            let mut after = state.clone();
            let mut changed = sidecar.clone();
            change(&mut after, &mut changed);
            after.sidecars[place] = changed;
            next.push((step, Ok(after)));
        };
        let requested = u8::try_from(state.requested.len()).unwrap();
        let first = if self.mutation == Some(Mutation::NewIds) { 0 } else { requested };
        for lease in (first..=requested).filter(|lease| *lease < self.leases) {
            // A sidecar estimates the store's time, so it may be wrong about the cycle.
            for cycle in 0..self.cycles() {
                add(Step::Ask(place, lease, cycle), &|after, sidecar| {
                    sidecar.pending = Some(LeaseRequest { lease, requested_ms: state.sidecar_ms() });
                    after.requested.truncate(usize::from(lease));
                    after.requested.push(cycle);
                });
            }
        }
        if !sidecar.held_leases.is_empty() {
            add(Step::RemoveLeases(place), &|after, sidecar| {
                after.remainders.extend(sidecar.held_leases.drain(..).map(Remainder::of));
            });
            if state.budget.pauses > 0 && sidecar.read_ms.is_none() {
                add(Step::Pause(place), &|after, sidecar| {
                    after.budget.pauses -= 1;
                    sidecar.read_ms = Some(after.sidecar_ms());
                });
            }
        }
        if sidecar.held_leases.first().is_some_and(|held_leases| held_leases.refilled) {
            add(Step::ReceiveRefill(place), &|_, sidecar| sidecar.held_leases[0].undrawn += self.lease_credits);
        }
        if state.budget.crashes > 0 && *sidecar != Sidecar::default() {
            add(Step::Crash(place), &|after, sidecar| {
                after.budget.crashes -= 1;
                *sidecar = Sidecar::default();
            });
        }
        if state.budget.draws > 0 && !sidecar.held_leases.is_empty() {
            let numbers = 0..=state.used_numbers().min(self.reservations - 1);
            next.extend(numbers.filter_map(|reservation| self.draw(state, place, reservation, stores)));
        }
    }

    /// Returns the step in which a sidecar opens a reservation. `None` if it already has one of that number, or no
    /// lease covers it.
    fn draw(&self, state: &ModelState, place: usize, reservation: u8, stores: &StoreStates) -> Option<Next> {
        let mut after = state.clone();
        let sidecar = &mut after.sidecars[place];
        if sidecar.open & 1 << reservation != 0 {
            return None;
        }
        let read_ms = sidecar.read_ms.take().unwrap_or(state.sidecar_ms());
        let mut leases = sidecar.held_leases.iter_mut();
        let opened = leases.find_map(|lease| lease.draw(reservation, read_ms, state.sidecar_ms(), stores.setup()))?;
        sidecar.open |= 1 << reservation;
        after.budget.draws -= 1;
        after.opened.push(opened);
        Some((Step::Draw(place, reservation), Ok(after)))
    }

    /// Returns the requests that can reach the store.
    fn requests(&self, state: &ModelState, stores: &StoreStates) -> Vec<Request> {
        let books = stores.books(state.store);
        let requested = (0..).zip(&state.requested);
        let mut requests: Vec<Request> =
            requested.map(|(lease, cycle)| Request::Lease { lease, cycle: *cycle }).collect();
        requests.extend(state.remainders.iter().copied().map(Request::LeaseReturn));
        for (lease, record) in (0..).zip(&books.leases) {
            let Some(LeaseRecord { cycle, credits, .. }) = *record else { continue };
            // A sidecar that has not seen the jump assumes the old time. One that was started since knows of no jump.
            let assumed_now_ms = if self.has_unaware_sidecars { state.now_ms } else { state.sidecar_ms() };
            requests.push(Request::Reclaim { lease, cycle, credits, assumed_now_ms });
            if state.jumped_ms != 0 {
                requests.push(Request::Postpone { lease, cycle, credits });
            }
        }
        let changes = |assumed| self.changes.iter().map(move |change| Request::Settle { assumed, change: *change });
        for opened in &state.opened {
            let expired_records =
                state.expired.iter().filter(|expired| expired.reservation == opened.recorded.reservation);
            for replaces in expired_records.copied().map(Some).chain([None]) {
                for reclaimed in [false, true] {
                    requests.extend(changes(Assumed::Leased { opened: *opened, reclaimed, replaces }));
                }
            }
        }
        for recorded in &state.recorded {
            requests.extend(changes(Assumed::Recorded(*recorded)));
        }
        let late = |expired| Request::Settle { assumed: Assumed::Expired(expired), change: Change::CommitLate };
        requests.extend(state.expired.iter().copied().map(late));
        if state.budget.recalls > 0 {
            requests.push(Request::Recall);
        }
        if state.budget.reserves > 0 {
            let numbers = 0..=state.used_numbers().min(self.reservations - 1);
            requests.extend(numbers.map(|reservation| Request::Reserve { reservation }));
        }
        if state.budget.refills > 0 {
            let refilled = state.sidecars.iter().filter_map(|sidecar| sidecar.held_leases.first());
            requests.extend(refilled.map(|held_leases| Request::Refill { lease: held_leases.lease }));
        }
        requests
    }

    /// Returns the state after a request reached the store. `None` if it changes nothing.
    fn after_request(
        &self,
        state: &ModelState,
        request: Request,
        stores: &mut StoreStates,
    ) -> Option<(Answer, Result<ModelState, String>)> {
        let (store, answer) = stores.ask(state.store, state.now_ms, request);
        let mut after = ModelState { store, ..state.clone() };
        match (request, answer) {
            (Request::Recall, Answer::Done) => after.budget.recalls -= 1,
            (Request::Reserve { .. }, Answer::Done) => after.budget.reserves -= 1,
            (Request::Refill { lease }, Answer::Done) => {
                after.budget.refills -= 1;
                let held_leases = after.sidecars.iter_mut().flat_map(|sidecar| &mut sidecar.held_leases);
                held_leases
                    .filter(|held_leases| held_leases.lease == lease)
                    .for_each(|held_leases| held_leases.refilled = true);
            }
            (Request::Settle { assumed, change }, answer) => {
                if let Err(fault) = self.settled(state, &mut after, (assumed, change, answer), stores) {
                    return Some((answer, Err(fault)));
                }
            }
            _ => {}
        }
        if after == *state && !matches!(answer, Answer::Granted { .. }) {
            return None;
        }
        after.observe(&stores.books(store), self.replaces_expired);
        Some((answer, Ok(after)))
    }

    /// Checks I2, and that promises are kept: a commit in time is charged within the allotment.
    fn settled(
        &self,
        state: &ModelState,
        after: &mut ModelState,
        (assumed, change, answer): (Assumed, Change, Answer),
        stores: &StoreStates,
    ) -> Result<(), String> {
        let (before, books) = (stores.books(state.store), stores.books(after.store));
        let recorded = assumed.recorded();
        let number = usize::from(recorded.reservation);
        let in_time = state.now_ms < recorded.expires_ms
            && match assumed {
                Assumed::Leased { opened, reclaimed, .. } => !reclaimed && state.may_commit(&opened, &before),
                Assumed::Recorded(_) => before.recorded(recorded.reservation, &State::Open) == Some(recorded),
                Assumed::Expired(_) => false,
            };
        let is_promised = change == Change::Commit && in_time && !self.has_made_up_grants;
        if answer != Answer::Done {
            // A sidecar that assumed another record gets the current one and tries again.
            let expired = before.recorded(recorded.reservation, &State::Expired);
            let is_as_assumed = match assumed {
                Assumed::Leased { replaces, .. } => replaces == expired,
                Assumed::Recorded(_) | Assumed::Expired(_) => true,
            };
            return match answer {
                _ if !is_promised => Ok(()),
                Answer::Superseding if !is_as_assumed && expired.is_some() => Ok(()),
                _ if !is_as_assumed && expired.is_none() => Ok(()),
                _ => Err(format!("a commit in time finds nothing held for it, but {answer:?}")),
            };
        }
        let increase =
            |cycle, counter: fn(&Account) -> i64| books.counted(cycle, counter) - before.counted(cycle, counter);
        let above_hold = increase(recorded.cycle, |account| account.above_hold);
        let drawn = above_hold + increase(recorded.cycle, |account| account.blocks);
        if change == (Change::Exceed { waits: true }) && drawn != 0 && before.has_open_lease(state.now_ms) {
            return Err("I6: an excess draws on more than the allotment beside a lease".to_owned());
        }
        let replaces_record = matches!(assumed, Assumed::Leased { replaces: Some(_), .. });
        let ended = &mut after.ends[number];
        let end = match change {
            Change::Commit | Change::CommitLate | Change::Exceed { .. } => End::Committed,
            Change::Release => End::Released,
            Change::Expire => End::Expired,
            Change::Extend | Change::Record => {
                after.budget.records = after.budget.records.saturating_sub(1);
                *ended = None;
                return Ok(());
            }
        };
        match *ended {
            None => {}
            Some(End::Expired) if end == End::Committed || (replaces_record && end == End::Released) => {}
            Some(before) => return Err(format!("I2: what was {before:?} is {end:?}")),
        }
        *ended = Some(end);
        if end == End::Committed {
            after.charged[usize::from(recorded.cycle)] += recorded.credits + change.excess();
            if is_promised && above_hold != 0 {
                return Err("a commit in time is above its hold".to_owned());
            }
            let lease_lasts = state.sidecar_ms() < START_MS + stores.setup().terms.reclaim_after_ms();
            let is_of_lease =
                matches!(assumed, Assumed::Leased { .. }) && !self.has_made_up_grants && !self.has_unaware_sidecars;
            if change == Change::CommitLate && is_of_lease && lease_lasts && above_hold != 0 {
                return Err("the credits of a lease that is in use are gone".to_owned());
            }
        }
        Ok(())
    }

    /// Returns what is wrong in a state.
    pub(super) fn fault(&self, state: &ModelState, stores: &StoreStates) -> Option<String> {
        if let Some(fault) = stores.fault(state.store) {
            return Some(fault.clone());
        }
        let books = stores.books(state.store);
        (0..self.cycles()).find_map(|cycle| self.fault_of_cycle(state, &books, cycle, stores))
    }

    fn fault_of_cycle(&self, state: &ModelState, books: &Books, cycle: u8, stores: &StoreStates) -> Option<String> {
        let counted = |counter| books.counted(cycle, counter);
        let (used, held) = (counted(|account| account.used), counted(|account| account.held));
        let charged = state.charged[usize::from(cycle)];
        if used + counted(|account| account.above_hold) != charged {
            return Some(format!("I2: {used} credits are used; commits were of {charged}"));
        }
        let Cycle { start_ms, end_ms } = stores.setup().cycle(cycle);
        let mut of_cycle = state.opened.iter().map(|opened| opened.recorded).filter(|opened| opened.cycle == cycle);
        if !self.has_made_up_grants && of_cycle.any(|opened| !(start_ms..end_ms).contains(&opened.created_ms)) {
            return Some("rule 6: something is opened in one cycle and belongs to another".to_owned());
        }
        let promised = if self.has_made_up_grants { 0 } else { state.promised(books, cycle) };
        let limit = self.allotment + i64::from(self.cap_blocks) * OVERAGE_BLOCK_CREDITS;
        (used + held + promised > limit)
            .then(|| format!("{promised} credits are promised beside {used} used and {held} held"))
    }
}

/// Adds the steps in which the reply with a granted lease reaches the sidecar that waits for it.
fn granted(
    request: Request,
    answer: Answer,
    after: &Result<ModelState, String>,
    stores: &StoreStates,
    next: &mut Vec<Next>,
) {
    let (Request::Lease { lease, cycle }, Answer::Granted { credits, granted_at_ms }, Ok(after)) =
        (request, answer, after)
    else {
        return;
    };
    for (place, sidecar) in after.sidecars.iter().enumerate() {
        let Some(pending) = sidecar.pending.filter(|pending| pending.lease == lease) else { continue };
        let mut after = after.clone();
        after.sidecars[place].pending = None;
        after.sidecars[place].held_leases.push(HeldLease::granted(
            pending,
            cycle,
            credits,
            granted_at_ms,
            stores.setup(),
        ));
        next.push((Step::Answered(place, request, answer), Ok(after)));
    }
}
