//! What may happen next, and what has to be so whatever happened.

use tollgate::domain::{
    OVERAGE_BLOCK_CREDITS,
    account::Account,
    billing_cycle::Cycle,
    reservation::{Basis, State},
};

use super::{
    JUMP_MS, START_MS, TICK_MS, World,
    books::{Books, LeaseRecord, MOST},
    request::{Answer, Believed, Deed, Opened, Recorded, Request},
    shelf::Shelf,
    state::{Asking, End, InHand, Left, Moment, Rest, Sidecar},
    without::Without,
};

/// One thing that happens. A number says which sidecar, or which lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// The store's clock is set forward.
    Jump,
    /// A sidecar begins to ask for a lease of a cycle, and forgets what it asked for before.
    Ask(usize, u8, u8),
    /// All leases in hand are taken out of hand.
    TakeOut(usize),
    /// A sidecar reads its clock for a call, and is stopped.
    Pause(usize),
    /// A sidecar opens a reservation from a lease.
    Draw(usize, u8),
    Crash(usize),
    /// Only where leases are refilled: the answer to a request for more reaches the sidecar, once more.
    ReceiveRefill(usize),
    /// A message reaches the store, and its answer is lost.
    Store(Request, Answer),
    /// The same, and the answer reaches the sidecar. That it is late is no case of its own: whoever has it may wait with what follows.
    Answered(usize, Request, Answer),
}

/// A step, and what it leads to; or what is wrong then.
pub(super) type Next = (Step, Result<Moment, String>);

impl World {
    /// The state that everything begins in.
    pub(super) fn beginning(&self) -> Moment {
        let forged = |(lease, cycle)| {
            let recorded = Recorded {
                reservation: MOST - 1,
                credits: self.allotment,
                cycle,
                basis: Basis::Allotment,
                created_ms: START_MS,
                expires_ms: START_MS + 4 * TICK_MS,
            };
            Opened { lease, recorded }
        };
        let all = (0..self.leases).flat_map(|lease| (0..self.cycles()).map(move |cycle| (lease, cycle)));
        Moment {
            now_ms: START_MS,
            jumped_ms: 0,
            store: 0,
            sidecars: vec![Sidecar::default(); self.sidecars],
            asked: Vec::new(),
            rests: Vec::new(),
            opened: if self.forged { all.map(forged).collect() } else { Vec::new() },
            recorded: Vec::new(),
            expired: Vec::new(),
            ends: [None; MOST as usize],
            charged: [0; 2],
            left: Left { refills: u8::from(self.without == Some(Without::Immutability)), ..self.may },
        }
    }

    /// Everything that may happen in a state.
    pub(super) fn next(&self, moment: &Moment, shelf: &mut Shelf) -> Vec<Next> {
        let mut next = Vec::new();
        let ticks = (0..=self.ticks).map(|tick| tick * TICK_MS);
        let mut times = ticks.chain(self.much_later_ms.iter().copied()).map(|after_ms| START_MS + after_ms);
        if let Some(own_ms) = times.find(|at_ms| moment.own_ms() < *at_ms) {
            next.push((Step::Tick, Ok(Moment { now_ms: own_ms + moment.jumped_ms, ..moment.clone() })));
        }
        if moment.left.jumps > 0 {
            let mut after = moment.clone();
            after.left.jumps -= 1;
            after.jumped_ms += JUMP_MS;
            after.now_ms += JUMP_MS;
            next.push((Step::Jump, Ok(after)));
        }
        for (place, sidecar) in moment.sidecars.iter().enumerate() {
            // Those that are in the same state do the same.
            if place == 0 || moment.sidecars[place - 1] != *sidecar {
                self.steps_of(moment, place, shelf, &mut next);
            }
        }
        for request in self.requests(moment, shelf) {
            if let Some((answer, after)) = self.carried_out(moment, request, shelf) {
                granted(request, answer, &after, shelf, &mut next);
                next.push((Step::Store(request, answer), after));
            }
        }
        next.into_iter().map(|(step, after)| (step, after.map(|after| after.in_order(shelf.making())))).collect()
    }

    /// What a sidecar may do by itself.
    fn steps_of(&self, moment: &Moment, place: usize, shelf: &Shelf, next: &mut Vec<Next>) {
        let sidecar = &moment.sidecars[place];
        let mut happens = |step, change: &dyn Fn(&mut Moment, &mut Sidecar)| {
            let mut after = moment.clone();
            let mut changed = sidecar.clone();
            change(&mut after, &mut changed);
            after.sidecars[place] = changed;
            next.push((step, Ok(after)));
        };
        let asked = u8::try_from(moment.asked.len()).unwrap();
        let first = if self.without == Some(Without::NewIds) { 0 } else { asked };
        for lease in (first..=asked).filter(|lease| *lease < self.leases) {
            // A sidecar guesses the store's time, so that it may be wrong about the cycle.
            for cycle in 0..self.cycles() {
                happens(Step::Ask(place, lease, cycle), &|after, sidecar| {
                    sidecar.asking = Some(Asking { lease, asked_ms: moment.own_ms() });
                    after.asked.truncate(usize::from(lease));
                    after.asked.push(cycle);
                });
            }
        }
        if !sidecar.in_hand.is_empty() {
            happens(Step::TakeOut(place), &|after, sidecar| {
                after.rests.extend(sidecar.in_hand.drain(..).map(Rest::of));
            });
            if moment.left.pauses > 0 && sidecar.read_ms.is_none() {
                happens(Step::Pause(place), &|after, sidecar| {
                    after.left.pauses -= 1;
                    sidecar.read_ms = Some(after.own_ms());
                });
            }
        }
        if sidecar.in_hand.first().is_some_and(|in_hand| in_hand.refilled) {
            happens(Step::ReceiveRefill(place), &|_, sidecar| sidecar.in_hand[0].undrawn += self.slice);
        }
        if moment.left.crashes > 0 && *sidecar != Sidecar::default() {
            happens(Step::Crash(place), &|after, sidecar| {
                after.left.crashes -= 1;
                *sidecar = Sidecar::default();
            });
        }
        if moment.left.draws > 0 && !sidecar.in_hand.is_empty() {
            let names = 0..=moment.named().min(self.reservations - 1);
            next.extend(names.filter_map(|reservation| self.draw(moment, place, reservation, shelf)));
        }
    }

    /// A sidecar opens a reservation, unless it has one of that name, or no lease that covers it.
    fn draw(&self, moment: &Moment, place: usize, reservation: u8, shelf: &Shelf) -> Option<Next> {
        let mut after = moment.clone();
        let sidecar = &mut after.sidecars[place];
        if sidecar.open & 1 << reservation != 0 {
            return None;
        }
        let read_ms = sidecar.read_ms.take().unwrap_or(moment.own_ms());
        let mut leases = sidecar.in_hand.iter_mut();
        let opened = leases.find_map(|lease| lease.draw(reservation, read_ms, moment.own_ms(), shelf.making()))?;
        sidecar.open |= 1 << reservation;
        after.left.draws -= 1;
        after.opened.push(opened);
        Some((Step::Draw(place, reservation), Ok(after)))
    }

    /// The messages that may reach the store.
    fn requests(&self, moment: &Moment, shelf: &Shelf) -> Vec<Request> {
        let books = shelf.books(moment.store);
        let asked = (0..).zip(&moment.asked);
        let mut requests: Vec<Request> = asked.map(|(lease, cycle)| Request::Lease { lease, cycle: *cycle }).collect();
        requests.extend(moment.rests.iter().copied().map(Request::LeaseReturn));
        for (lease, record) in (0..).zip(&books.leases) {
            let Some(LeaseRecord { cycle, credits, .. }) = *record else { continue };
            // Who has not heard of a jump goes by the time of before, and who was started since knows of none.
            let believed_ms = if self.has_newcomers { moment.now_ms } else { moment.own_ms() };
            requests.push(Request::Reclaim { lease, cycle, credits, believed_ms });
            if moment.jumped_ms != 0 {
                requests.push(Request::PutOff { lease, cycle, credits });
            }
        }
        let deeds = |believed| self.deeds.iter().map(move |deed| Request::Settle { believed, deed: *deed });
        for opened in &moment.opened {
            let of_others = moment.expired.iter().filter(|expired| expired.reservation == opened.recorded.reservation);
            for replaces in of_others.copied().map(Some).chain([None]) {
                for reclaimed in [false, true] {
                    requests.extend(deeds(Believed::Leased { opened: *opened, reclaimed, replaces }));
                }
            }
        }
        for recorded in &moment.recorded {
            requests.extend(deeds(Believed::Recorded(*recorded)));
        }
        let late = |expired| Request::Settle { believed: Believed::Expired(expired), deed: Deed::CommitLate };
        requests.extend(moment.expired.iter().copied().map(late));
        if moment.left.recalls > 0 {
            requests.push(Request::Recall);
        }
        if moment.left.reserves > 0 {
            let names = 0..=moment.named().min(self.reservations - 1);
            requests.extend(names.map(|reservation| Request::Reserve { reservation }));
        }
        if moment.left.refills > 0 {
            let refilled = moment.sidecars.iter().filter_map(|sidecar| sidecar.in_hand.first());
            requests.extend(refilled.map(|in_hand| Request::Refill { lease: in_hand.lease }));
        }
        requests
    }

    /// What a message to the store leads to; `None` if nothing.
    fn carried_out(
        &self,
        moment: &Moment,
        request: Request,
        shelf: &mut Shelf,
    ) -> Option<(Answer, Result<Moment, String>)> {
        let (store, answer) = shelf.ask(moment.store, moment.now_ms, request);
        let mut after = Moment { store, ..moment.clone() };
        match (request, answer) {
            (Request::Recall, Answer::Done) => after.left.recalls -= 1,
            (Request::Reserve { .. }, Answer::Done) => after.left.reserves -= 1,
            (Request::Refill { lease }, Answer::Done) => {
                after.left.refills -= 1;
                let in_hand = after.sidecars.iter_mut().flat_map(|sidecar| &mut sidecar.in_hand);
                in_hand.filter(|in_hand| in_hand.lease == lease).for_each(|in_hand| in_hand.refilled = true);
            }
            (Request::Settle { believed, deed }, answer) => {
                if let Err(fault) = self.settled(moment, &mut after, (believed, deed, answer), shelf) {
                    return Some((answer, Err(fault)));
                }
            }
            _ => {}
        }
        if after == *moment && !matches!(answer, Answer::Granted { .. }) {
            return None;
        }
        after.learn(&shelf.books(store), self.takes_places);
        Some((answer, Ok(after)))
    }

    /// I2, and that what was promised is kept: whatever is committed in time is charged, and within the allotment.
    fn settled(
        &self,
        moment: &Moment,
        after: &mut Moment,
        (believed, deed, answer): (Believed, Deed, Answer),
        shelf: &Shelf,
    ) -> Result<(), String> {
        let (before, books) = (shelf.books(moment.store), shelf.books(after.store));
        let recorded = believed.recorded();
        let number = usize::from(recorded.reservation);
        let in_time = moment.now_ms < recorded.expires_ms
            && match believed {
                Believed::Leased { opened, reclaimed, .. } => !reclaimed && moment.may_commit(&opened, &before),
                Believed::Recorded(_) => before.recorded(recorded.reservation, &State::Open) == Some(recorded),
                Believed::Expired(_) => false,
            };
        let is_promised = deed == Deed::Commit && in_time && !self.forged;
        if answer != Answer::Done {
            // Whoever believes something else of its record is told so, and asks again.
            let expired = before.recorded(recorded.reservation, &State::Expired);
            let is_as_believed = match believed {
                Believed::Leased { replaces, .. } => replaces == expired,
                Believed::Recorded(_) | Believed::Expired(_) => true,
            };
            return match answer {
                _ if !is_promised => Ok(()),
                Answer::Outlives if !is_as_believed && expired.is_some() => Ok(()),
                _ if !is_as_believed && expired.is_none() => Ok(()),
                _ => Err(format!("a commit in time finds nothing held for it, but {answer:?}")),
            };
        }
        let grew = |cycle, counter: fn(&Account) -> i64| books.counted(cycle, counter) - before.counted(cycle, counter);
        let above_hold = grew(recorded.cycle, |account| account.above_hold);
        let drawn = above_hold + grew(recorded.cycle, |account| account.blocks);
        if deed == (Deed::Exceed { waits: true }) && drawn != 0 && before.has_open_lease(moment.now_ms) {
            return Err("I6: an excess draws on more than the allotment beside a lease".to_owned());
        }
        let takes_place = matches!(believed, Believed::Leased { replaces: Some(_), .. });
        let ended = &mut after.ends[number];
        let end = match deed {
            Deed::Commit | Deed::CommitLate | Deed::Exceed { .. } => End::Committed,
            Deed::Release => End::Released,
            Deed::Expire => End::Expired,
            Deed::Extend | Deed::Record => {
                after.left.records = after.left.records.saturating_sub(1);
                *ended = None;
                return Ok(());
            }
        };
        match *ended {
            None => {}
            Some(End::Expired) if end == End::Committed || (takes_place && end == End::Released) => {}
            Some(before) => return Err(format!("I2: what was {before:?} is {end:?}")),
        }
        *ended = Some(end);
        if end == End::Committed {
            after.charged[usize::from(recorded.cycle)] += recorded.credits + deed.excess();
            if is_promised && above_hold != 0 {
                return Err("a commit in time is above its hold".to_owned());
            }
            let lasts = moment.own_ms() < START_MS + shelf.making().terms.reclaim_after_ms();
            let is_of_lease = matches!(believed, Believed::Leased { .. }) && !self.forged && !self.has_newcomers;
            if deed == Deed::CommitLate && is_of_lease && lasts && above_hold != 0 {
                return Err("the credits of a lease that is in use are gone".to_owned());
            }
        }
        Ok(())
    }

    /// What is wrong in a state, if anything is.
    pub(super) fn fault(&self, moment: &Moment, shelf: &Shelf) -> Option<String> {
        if let Some(fault) = shelf.fault(moment.store) {
            return Some(fault.clone());
        }
        let books = shelf.books(moment.store);
        (0..self.cycles()).find_map(|cycle| self.fault_of_cycle(moment, &books, cycle, shelf))
    }

    fn fault_of_cycle(&self, moment: &Moment, books: &Books, cycle: u8, shelf: &Shelf) -> Option<String> {
        let counted = |counter| books.counted(cycle, counter);
        let (used, held) = (counted(|account| account.used), counted(|account| account.held));
        let charged = moment.charged[usize::from(cycle)];
        if used + counted(|account| account.above_hold) != charged {
            return Some(format!("I2: {used} credits are used; commits were of {charged}"));
        }
        let Cycle { start_ms, end_ms } = shelf.making().cycle(cycle);
        let mut of_cycle = moment.opened.iter().map(|opened| opened.recorded).filter(|opened| opened.cycle == cycle);
        if !self.forged && of_cycle.any(|opened| !(start_ms..end_ms).contains(&opened.created_ms)) {
            return Some("rule 6: something is opened in one cycle and belongs to another".to_owned());
        }
        let promised = if self.forged { 0 } else { moment.promised(books, cycle) };
        let limit = self.allotment + i64::from(self.cap_blocks) * OVERAGE_BLOCK_CREDITS;
        (used + held + promised > limit)
            .then(|| format!("{promised} credits are promised beside {used} used and {held} held"))
    }
}

/// The lease that was asked for is granted, and the answer reaches whoever waits for it.
fn granted(request: Request, answer: Answer, after: &Result<Moment, String>, shelf: &Shelf, next: &mut Vec<Next>) {
    let (Request::Lease { lease, cycle }, Answer::Granted { credits, granted_at_ms }, Ok(after)) =
        (request, answer, after)
    else {
        return;
    };
    for (place, sidecar) in after.sidecars.iter().enumerate() {
        let Some(asking) = sidecar.asking.filter(|asking| asking.lease == lease) else { continue };
        let mut told = after.clone();
        told.sidecars[place].asking = None;
        told.sidecars[place].in_hand.push(InHand::granted(asking, cycle, credits, granted_at_ms, shelf.making()));
        next.push((Step::Answered(place, request, answer), Ok(told)));
    }
}
