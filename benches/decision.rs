//! `cargo bench --bench decision`: the cost of one decision without gRPC, in nanoseconds and allocations.
//!
//! It measures from the inside out: the pure rules, the memory store that executes their transaction, and the gate with its
//! cache, which is a whole call except for the network. It also measures a draw from a lease, which answers the calls of busy
//! teams.

use std::{hint::black_box, sync::Arc, time::Duration};

use allocation_counter::AllocationInfo;
use anyhow::Context as _;
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use futures::FutureExt as _;
use tokio::runtime::{Builder, Runtime};
use tollgate::{
    clock::Clock,
    domain::{
        assumptions::Assumptions,
        catalogue::Catalogue,
        id::Id,
        lease::{Draw, Lease, LeaseTerms},
        plan::Plan,
        policy::Policy,
        reservation::{Basis, Content, ReservationTerms, Trigger},
        reserve::{Price, Request, Reserve, ReserveVerdict},
        terms::{MAX_INCLUDED_CREDITS, Terms},
        terms_change::TeamSettings,
    },
    escrow::{Escrow, EscrowAnswer, EscrowOptions, EscrowRequest, KnownRun},
    gate::{
        Gate, GateOptions,
        calls::{ActualUse, ReserveAnswer, ReserveCall, ReserveDecision, SettleCall},
    },
    store::{Store, StoreLocation, StoreOptions},
    transaction::{Reply, Transaction},
};

const HOLD_MS: i64 = 120_000;

/// A time in the far future that a store can still compare.
const LONG_AFTER_MS: i64 = 1 << 45;

/// Maximum number of open reservations, so that the result does not depend on the duration of the measurement.
const MAX_OPEN: u64 = 1_000;

/// Number of calls over which allocations are counted.
const COUNTED_CALLS: u64 = 1_000;

fn main() -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut criterion = Criterion::default().configure_from_args();
    let bench = Bench::new(&runtime)?;
    bench.rules(&mut criterion)?;
    bench.reserve(&mut criterion, &runtime)?;
    bench.reserve_and_commit(&mut criterion, &runtime)?;
    bench.suspend(&mut criterion)?;
    bench.draw(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// A gate on the memory store with a team that never runs out of credits, and a team that has none.
struct Bench {
    gate: Arc<Gate>,
    store: Store,
    team: Id,
    suspended: Id,
    terms: Terms,
    catalogue: Catalogue,
    policy: Policy,
    content: Content,
    clock: Clock,
}

impl Bench {
    fn new(runtime: &Runtime) -> anyhow::Result<Self> {
        let clock = Clock::default();
        let store = runtime.block_on(Store::open(&StoreLocation::Memory, StoreOptions::default()))?;
        let gate = runtime.block_on(Gate::open(store.clone(), GateOptions::default()))?;
        let (team, suspended) = (Id::parse("team")?, Id::parse("suspended")?);
        let settings = |plan, paid_seat, credits| TeamSettings {
            plan,
            paid_seat,
            anchor_day: 1,
            included_override: Some(credits),
        };
        let rich = settings(Plan::Professional, true, MAX_INCLUDED_CREDITS);
        let terms = runtime.block_on(gate.put_team(&team, &rich, "bench"))?;
        runtime.block_on(gate.put_team(&suspended, &settings(Plan::Free, false, 0), "bench"))?;
        let content = Content {
            flow: Id::parse("flow-1")?,
            run: Some(Id::parse("00000001-00000001-00000001")?),
            block: Some(Id::parse("block-1")?),
            model: Id::parse("gpt-4o")?,
            units: 1,
            trigger: Trigger::Run,
        };
        let (catalogue, policy) = (Catalogue::shipped(), Policy::default());
        let bench = Self { gate, store, team, suspended, terms, catalogue, policy, content, clock };
        // Every call but the first finds the account of the cycle, and the team in the cache.
        bench.reserved(bench.call(&bench.team, reservation(0)?))?;
        Ok(bench)
    }

    /// Decides a reserve that the allotment covers.
    fn decide(&self, reservation: &Id) -> anyhow::Result<Reserve> {
        let now_ms = self.clock.now_ms();
        let price = Price { credits: 2, rate_card: Id::parse("2025-01-22")?, valid_ms: 0..LONG_AFTER_MS };
        let request =
            Request { team: &self.team, reservation, content: &self.content, hold_ms: HOLD_MS, dry_run: false };
        let assumptions = Assumptions {
            terms: &self.terms,
            catalogue: &self.catalogue,
            account_exists: true,
            remaining: Some(MAX_INCLUDED_CREDITS),
            recall_leases_first: true,
            now_ms,
        };
        Ok(Reserve::new(&request, &price, &assumptions, &self.policy))
    }

    /// Reads the reply to a decision.
    fn read(&self, step: &Reserve, reply: &Reply) -> anyhow::Result<ReserveVerdict> {
        black_box((step.terms(reply)?, step.account(reply)?));
        Ok(step.verdict(reply, &self.policy)?)
    }

    fn carry_out(&self, transaction: Transaction) -> anyhow::Result<Reply> {
        Ok(self.store.transact(transaction).now_or_never().context("the memory store never waits")??)
    }

    fn rules(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let id = reservation(1)?;
        count("rules: decide a reserve", || self.decide(&id).map(drop))?;
        criterion.bench_function("rules: decide a reserve", |bencher| bencher.iter(|| self.decide(black_box(&id))));

        let mut step = self.decide(&id)?;
        let transaction = step.transaction.take();
        let reply = self.carry_out(transaction)?;
        anyhow::ensure!(matches!(self.read(&step, &reply)?, ReserveVerdict::Granted(_)), "a reserve is granted");
        count("rules: read the reply", || self.read(&step, &reply).map(drop))?;
        criterion
            .bench_function("rules: read the reply", |bencher| bencher.iter(|| self.read(&step, black_box(&reply))));

        // A second execution of the same transaction would be stale, so each one has its own reservation.
        let mut number = 1;
        let mut decided = || {
            number += 1;
            self.decide(&reservation(number)?).map(|mut step| step.transaction.take())
        };
        let name = "memory store: carry out a reserve";
        let mut counted = (0..COUNTED_CALLS).map(|_| decided()).collect::<anyhow::Result<Vec<_>>>()?;
        count(name, || self.carry_out(counted.pop().context("too few transactions")?).map(drop))?;
        criterion.bench_function(name, |bencher| {
            let carry_out = |transaction: anyhow::Result<Transaction>| self.carry_out(transaction?);
            bencher.iter_batched(&mut decided, carry_out, BatchSize::SmallInput);
        });
        Ok(())
    }

    fn reserve(&self, criterion: &mut Criterion, runtime: &Runtime) -> anyhow::Result<()> {
        let name = "gate on memory: reserve";
        let mut number = 1_000_000_000;
        let mut next = || {
            number += 1;
            reservation(number).map(|id| self.call(&self.team, id))
        };
        let counted = (0..COUNTED_CALLS).map(|_| next()).collect::<anyhow::Result<Vec<_>>>()?;
        let mut calls = counted.into_iter();
        count(name, || self.reserved(calls.next().context("too few calls")?).map(drop))?;
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| self.time_reserves(iterations, &mut next, runtime).unwrap_or_default());
        });
        Ok(())
    }

    /// Returns the duration of this many reserves, without the releases after them.
    fn time_reserves(
        &self,
        iterations: u64,
        mut next: impl FnMut() -> anyhow::Result<ReserveCall>,
        runtime: &Runtime,
    ) -> anyhow::Result<Duration> {
        let (mut left, mut took_ns) = (iterations, 0);
        while left > 0 {
            let some = left.min(MAX_OPEN);
            left -= some;
            let calls = (0..some).map(|_| next()).collect::<anyhow::Result<Vec<_>>>()?;
            let mut settled = Vec::with_capacity(calls.len());
            let began_ns = self.clock.monotonic_ns();
            for call in calls {
                settled.push(self.reserved(call)?);
            }
            took_ns += self.clock.monotonic_ns() - began_ns;
            for call in settled {
                runtime.block_on(self.gate.release(call))?;
            }
        }
        Ok(Duration::from_nanos(u64::try_from(took_ns)?))
    }

    fn reserve_and_commit(&self, criterion: &mut Criterion, runtime: &Runtime) -> anyhow::Result<()> {
        let name = "gate on memory: reserve and commit";
        let mut number = 2_000_000_000;
        let mut pair = || {
            number += 1;
            let settle = self.reserved(self.call(&self.team, reservation(number)?))?;
            anyhow::Ok(runtime.block_on(self.gate.commit(settle, ActualUse::default()))?)
        };
        count(name, || pair().map(drop))?;
        criterion.bench_function(name, |bencher| bencher.iter(&mut pair));
        Ok(())
    }

    fn suspend(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let name = "gate on memory: suspend";
        let mut number = 3_000_000_000;
        let mut next = || {
            number += 1;
            let answer = self.answered(self.call(&self.suspended, reservation(number)?))?;
            anyhow::ensure!(matches!(answer.decision, ReserveDecision::Suspend(_)), "no credits are left");
            Ok(answer)
        };
        count(name, || next().map(drop))?;
        criterion.bench_function(name, |bencher| bencher.iter(&mut next));
        Ok(())
    }

    /// Opens reservations from a held lease that covers all of them.
    fn draw(&self, criterion: &mut Criterion) -> anyhow::Result<()> {
        let name = "escrow: draw from a lease";
        let drawing = Drawing::new(self)?;
        let mut number = 4_000_000_000;
        let mut next = || {
            number += 1;
            reservation(number)
        };
        // Tables reach their final size before allocations are counted.
        let warm = (0..MAX_OPEN).map(|_| next()).collect::<anyhow::Result<Vec<_>>>()?;
        warm.iter().try_for_each(|id| drawing.draw(id))?;
        warm.iter().for_each(|id| drawing.settle(id));
        let mut counted = (0..COUNTED_CALLS).map(|_| next()).collect::<anyhow::Result<Vec<_>>>()?.into_iter();
        count(name, || drawing.draw(&counted.next().context("too few ids")?))?;
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| drawing.time(iterations, &self.clock, &mut next).unwrap_or_default());
        });
        Ok(())
    }

    fn call(&self, team: &Id, reservation: Id) -> ReserveCall {
        let Content { flow, run, block, model, units, trigger } = self.content.clone();
        let (team, reservation) = (team.clone(), Some(reservation));
        ReserveCall { team, flow, run, block, reservation, model, units, trigger, hold_ms: HOLD_MS, dry_run: false }
    }

    fn answered(&self, call: ReserveCall) -> anyhow::Result<ReserveAnswer> {
        Ok(self.gate.check_and_reserve(call).now_or_never().context("the memory store never waits")??)
    }

    /// Reserves, and returns the call that settles the reservation.
    fn reserved(&self, call: ReserveCall) -> anyhow::Result<SettleCall> {
        match self.answered(call)?.decision {
            ReserveDecision::Proceed(proceed) => Ok(SettleCall {
                team: self.team.clone(),
                reservation: proceed.id.context("a reservation has an id")?,
                grant: Bytes::clone(&proceed.grant),
            }),
            ReserveDecision::Suspend(suspend) => anyhow::bail!("suspended: {}", suspend.suspension.message()),
        }
    }
}

/// A team with a lease that does not end, and a known run.
struct Drawing<'a> {
    bench: &'a Bench,
    escrow: Escrow,
    policy: Policy,
    terms: ReservationTerms,
    at_ms: i64,
}

impl<'a> Drawing<'a> {
    fn new(bench: &'a Bench) -> anyhow::Result<Self> {
        let lease_terms = LeaseTerms { term_ms: LONG_AFTER_MS, hold_ms: HOLD_MS };
        let escrow =
            Escrow::new(EscrowOptions { terms: lease_terms, max_lease_credits: i64::MAX, ..EscrowOptions::default() });
        let (now_ms, at_ms) = (bench.clock.now_ms(), bench.clock.monotonic_ms());
        let cycle = bench.terms.anchor.cycle_at(now_ms);
        let (plan, rate_card) = (bench.terms.plan, Id::parse("2025-01-22")?);
        let terms = ReservationTerms { credits: 2, basis: Basis::Allotment, cycle, rate_card, plan };
        let drawing = Self { bench, escrow, policy: Policy::default(), terms, at_ms };
        let unknown = reservation(4_000_000_000)?;
        drawing.escrow.request_lease(&drawing.request(&unknown));
        let (lease, version) = (Id::parse("0123456789abcdef.1")?, bench.terms.version);
        let lease = Lease::granted(lease, cycle, version, MAX_INCLUDED_CREDITS, now_ms, at_ms..=at_ms, &lease_terms);
        anyhow::ensure!(drawing.escrow.add_lease(&bench.team, lease, 1).is_none(), "the lease was not called back");
        let flow = bench.content.flow.clone();
        let known = KnownRun { flow, started_ms: at_ms, has_ended: false, is_recorded: true };
        let run = bench.content.run.as_ref().context("a run")?;
        drawing.escrow.runs().remember(&bench.team, run, known);
        Ok(drawing)
    }

    fn request<'b>(&'b self, reservation: &'b Id) -> EscrowRequest<'b> {
        EscrowRequest {
            team: &self.bench.team,
            reservation,
            is_named: true,
            content: &self.bench.content,
            draw: Draw { credits: 2, terms_version: self.bench.terms.version, valid_ms: 0..LONG_AFTER_MS },
            terms: self.terms.clone(),
            hold_ms: HOLD_MS,
            dry_run: false,
            may_begin_run: true,
            at_ms: self.at_ms,
        }
    }

    fn draw(&self, reservation: &Id) -> anyhow::Result<()> {
        let (answered, _) = self.escrow.answer(&self.request(reservation), &self.policy);
        anyhow::ensure!(matches!(black_box(answered), EscrowAnswer::Opened { .. }), "the lease covers it");
        Ok(())
    }

    fn settle(&self, reservation: &Id) {
        self.escrow.close_reservation(&self.bench.team, reservation);
    }

    /// Returns the duration of this many draws, without settling them.
    fn time(
        &self,
        iterations: u64,
        clock: &Clock,
        mut next: impl FnMut() -> anyhow::Result<Id>,
    ) -> anyhow::Result<Duration> {
        let (mut left, mut took_ns) = (iterations, 0);
        while left > 0 {
            let some = left.min(MAX_OPEN);
            left -= some;
            let ids = (0..some).map(|_| next()).collect::<anyhow::Result<Vec<_>>>()?;
            let began_ns = clock.monotonic_ns();
            ids.iter().try_for_each(|id| self.draw(id))?;
            took_ns += clock.monotonic_ns() - began_ns;
            ids.iter().for_each(|id| self.settle(id));
        }
        Ok(Duration::from_nanos(u64::try_from(took_ns)?))
    }
}

fn reservation(number: u64) -> anyhow::Result<Id> {
    Ok(Id::parse(&format!("00000001-00000001-{number:010}-reservation"))?)
}

/// Prints the mean number and size of the allocations of a call.
fn count(name: &str, mut call: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut done = Ok(());
    let AllocationInfo { count_total, bytes_total, .. } = allocation_counter::measure(|| {
        done = (0..COUNTED_CALLS).try_for_each(|_| call());
    });
    done?;
    let each = |total: u64| total as f64 / COUNTED_CALLS as f64;
    println!("{name}: {:.1} allocations, {:.0} bytes", each(count_total), each(bytes_total));
    Ok(())
}
