//! What may happen next, and what has to be so whatever happened.

use super::{
    START_MS, TICK_MS, World,
    books::MOST,
    request::{Answer, Believed, Deed, Opened, Recorded, Request},
    shelf::Shelf,
    state::{Asking, End, InHand, Left, Moment, Rest, Sidecar},
    without::Without,
};

/// One thing that happens. A number says which sidecar, or which lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// A sidecar begins to ask for a lease, and forgets what it asked for before.
    Ask(usize, u8),
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
        let forged = |lease| {
            let recorded = Recorded {
                reservation: MOST - 1,
                credits: self.allotment,
                created_ms: START_MS,
                expires_ms: START_MS + 4 * TICK_MS,
            };
            Opened { lease, recorded }
        };
        Moment {
            now_ms: START_MS,
            store: 0,
            sidecars: vec![Sidecar::default(); self.sidecars],
            asked: 0,
            rests: Vec::new(),
            opened: if self.forged { (0..self.leases).map(forged).collect() } else { Vec::new() },
            recorded: Vec::new(),
            ends: [None; MOST as usize],
            charged: 0,
            left: Left { refills: u8::from(self.without == Some(Without::Immutability)), ..self.may },
        }
    }

    /// Everything that may happen in a state.
    pub(super) fn next(&self, moment: &Moment, shelf: &mut Shelf) -> Vec<Next> {
        let mut next = Vec::new();
        let ticks = (0..=self.ticks).map(|tick| tick * TICK_MS);
        let mut times = ticks.chain(self.much_later_ms.iter().copied()).map(|after_ms| START_MS + after_ms);
        if let Some(now_ms) = times.find(|at_ms| moment.now_ms < *at_ms) {
            next.push((Step::Tick, Ok(Moment { now_ms, ..moment.clone() })));
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
        let first = if self.without == Some(Without::NewIds) { 0 } else { moment.asked };
        for lease in (first..=moment.asked).filter(|lease| *lease < self.leases) {
            happens(Step::Ask(place, lease), &|after, sidecar| {
                sidecar.asking = Some(Asking { lease, asked_ms: moment.now_ms });
                after.asked = after.asked.max(lease + 1);
            });
        }
        if !sidecar.in_hand.is_empty() {
            happens(Step::TakeOut(place), &|after, sidecar| {
                after.rests.extend(sidecar.in_hand.drain(..).map(Rest::of));
            });
            if moment.left.pauses > 0 && sidecar.read_ms.is_none() {
                happens(Step::Pause(place), &|after, sidecar| {
                    after.left.pauses -= 1;
                    sidecar.read_ms = Some(after.now_ms);
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
        let read_ms = sidecar.read_ms.take().unwrap_or(moment.now_ms);
        let mut leases = sidecar.in_hand.iter_mut();
        let opened = leases.find_map(|lease| lease.draw(reservation, read_ms, moment.now_ms, shelf.making()))?;
        sidecar.open |= 1 << reservation;
        after.left.draws -= 1;
        after.opened.push(opened);
        Some((Step::Draw(place, reservation), Ok(after)))
    }

    /// The messages that may reach the store.
    fn requests(&self, moment: &Moment, shelf: &Shelf) -> Vec<Request> {
        let books = shelf.books(moment.store);
        let mut requests: Vec<Request> = (0..moment.asked).map(|lease| Request::Lease { lease }).collect();
        let give_back = |rest: &Rest| {
            let Rest { lease, credits, undrawn } = *rest;
            Request::GiveBack { lease, credits, undrawn }
        };
        requests.extend(moment.rests.iter().map(give_back));
        for (lease, record) in (0..).zip(&books.leases) {
            requests.extend(record.map(|record| Request::Reclaim { lease, credits: record.credits }));
        }
        let deeds = |believed| self.deeds.iter().map(move |deed| Request::Settle { believed, deed: *deed });
        for opened in &moment.opened {
            for reclaimed in [false, true] {
                requests.extend(deeds(Believed::Leased { opened: *opened, reclaimed }));
            }
        }
        for recorded in &moment.recorded {
            requests.extend(deeds(Believed::Recorded(*recorded)));
        }
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
        after.learn(&shelf.books(store));
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
        let (recorded, in_time) = match believed {
            Believed::Leased { opened: Opened { recorded, .. }, reclaimed } => {
                let until_ms = moment.held_until_ms(recorded.reservation).unwrap_or(recorded.expires_ms);
                (recorded, !reclaimed && moment.now_ms < until_ms)
            }
            Believed::Recorded(recorded) => {
                let as_believed = before.recorded(recorded.reservation) == Some(recorded);
                (recorded, as_believed && moment.now_ms < recorded.expires_ms)
            }
        };
        let is_promised = deed == Deed::Commit && in_time && !self.forged;
        if answer != Answer::Done {
            let ended = after.ends[usize::from(recorded.reservation)];
            let is_known = answer == Answer::HasRecord && ended != Some(End::Expired)
                || matches!(ended, Some(End::Committed | End::Released));
            return if is_promised && !is_known {
                Err("a commit in time finds nothing held for it".to_owned())
            } else {
                Ok(())
            };
        }
        let end = match deed {
            Deed::Commit | Deed::CommitLate => End::Committed,
            Deed::Release => End::Released,
            Deed::Expire => End::Expired,
            Deed::Extend | Deed::Record => {
                after.left.records = after.left.records.saturating_sub(1);
                return Ok(());
            }
        };
        let ended = &mut after.ends[usize::from(recorded.reservation)];
        match *ended {
            None => {}
            Some(End::Expired) if end == End::Committed => {}
            Some(before) => return Err(format!("I2: what was {before:?} is {end:?}")),
        }
        *ended = Some(end);
        if end == End::Committed {
            after.charged += recorded.credits;
            let above_hold = books.counted(|account| account.above_hold) - before.counted(|account| account.above_hold);
            if is_promised && above_hold != 0 {
                return Err("a commit in time is above its hold".to_owned());
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
        let (used, held) = (books.counted(|account| account.used), books.counted(|account| account.held));
        if used + books.counted(|account| account.above_hold) != moment.charged {
            return Some(format!("I2: {used} credits are used; commits were of {}", moment.charged));
        }
        let promised = if self.forged { 0 } else { moment.promised(&books) };
        (used + held + promised > self.allotment)
            .then(|| format!("{promised} credits are promised beside {used} used and {held} held"))
    }
}

/// The lease that was asked for is granted, and the answer reaches whoever waits for it.
fn granted(request: Request, answer: Answer, after: &Result<Moment, String>, shelf: &Shelf, next: &mut Vec<Next>) {
    let (Request::Lease { lease }, Answer::Granted { credits, granted_at_ms }, Ok(after)) = (request, answer, after)
    else {
        return;
    };
    for (place, sidecar) in after.sidecars.iter().enumerate() {
        let Some(asking) = sidecar.asking.filter(|asking| asking.lease == lease) else { continue };
        let mut told = after.clone();
        told.sidecars[place].asking = None;
        told.sidecars[place].in_hand.push(InHand::granted(asking, credits, granted_at_ms, shelf.making()));
        next.push((Step::Answered(place, request, answer), Ok(told)));
    }
}
