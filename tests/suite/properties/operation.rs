//! The operations of a random sequence. There are few names and small numbers, so that operations affect each other and
//! reach the limits.

use proptest::prelude::*;

/// One step of a sequence. Names are small numbers.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Reserve {
        id: u8,
        flow: u8,
        run: u8,
        model: u8,
        units: u32,
        test: bool,
        hold_seconds: i64,
        dry_run: bool,
    },
    Commit {
        id: u8,
        echo: bool,
        units: Option<u32>,
        model: Option<u8>,
    },
    Release {
        id: u8,
        echo: bool,
    },
    Extend {
        id: u8,
        echo: bool,
        hold_seconds: i64,
    },
    BeginRun {
        flow: u8,
        run: u8,
    },
    EndRun {
        run: u8,
    },
    PutTeam {
        plan: u8,
        paid_seat: bool,
        anchor_day: u8,
        included: Option<i64>,
    },
    SetOverages {
        enabled: bool,
        cap_blocks: Option<u32>,
    },
    Sweep,
    /// Sends the following operations to the other sidecar.
    Switch,
    Wait {
        milliseconds: i64,
    },
}

pub(super) const MODELS: [&str; 5] = ["gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-3.5", "dall-e-3"];

fn units() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..4_u32, 3 => 5..60_u32, 1 => 100..400_u32]
}

fn hold_seconds() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1), Just(120), Just(3_600)]
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    let id = 0..6_u8;
    let model = 0..5_u8;
    prop_oneof![
        10 => (id.clone(), 0..2_u8, 0..3_u8, model.clone(), units(), prop::bool::weighted(0.2), hold_seconds(),
            prop::bool::weighted(0.1))
            .prop_map(|(id, flow, run, model, units, test, hold_seconds, dry_run)| {
                // Most runs use one flow. Otherwise most calls would be refused because the run belongs to another
                // flow.
                let flow = u8::from(flow == 1 && run == 2);
                Operation::Reserve { id, flow, run, model, units, test, hold_seconds, dry_run }
            }),
        8 => (id.clone(), any::<bool>(), prop::option::weighted(0.4, prop_oneof![Just(0), units()]),
            prop::option::weighted(0.2, model))
            .prop_map(|(id, echo, units, model)| Operation::Commit { id, echo, units, model }),
        2 => (id.clone(), any::<bool>()).prop_map(|(id, echo)| Operation::Release { id, echo }),
        2 => (id, any::<bool>(), hold_seconds())
            .prop_map(|(id, echo, hold_seconds)| Operation::Extend { id, echo, hold_seconds }),
        1 => (0..2_u8, 0..3_u8).prop_map(|(flow, run)| Operation::BeginRun { flow: u8::from(flow == 1 && run == 2), run }),
        1 => (0..3_u8).prop_map(|run| Operation::EndRun { run }),
        2 => (0..3_u8, prop::bool::weighted(0.7), prop_oneof![Just(31_u8), Just(1), 1..=31_u8],
            prop::option::weighted(0.8, prop_oneof![Just(0), Just(100), 0..2_000_i64]))
            .prop_map(|(plan, paid_seat, anchor_day, included)| {
                Operation::PutTeam { plan: plan.max(u8::from(paid_seat) * 2), paid_seat, anchor_day, included }
            }),
        2 => (prop::bool::weighted(0.7), prop::option::of(0..4_u32))
            .prop_map(|(enabled, cap_blocks)| Operation::SetOverages { enabled, cap_blocks }),
        1 => Just(Operation::Sweep),
        3 => Just(Operation::Switch),
        // Longer than a refusal is cached. Within that second the gate may answer with what was true before.
        3 => prop_oneof![
            6 => Just(1_500),
            2 => Just(120_000),
            3 => Just(121_000),
            1 => Just(3_600_000),
            1 => Just(3_700_000),
            2 => Just(2 * 3_600_000),
            1 => Just(24 * 3_600_000),
            1 => Just(25 * 3_600_000),
            1 => Just(20 * 86_400_000),
            1 => Just(31 * 86_400_000_i64),
        ]
        .prop_map(|milliseconds| Operation::Wait { milliseconds }),
    ]
}
