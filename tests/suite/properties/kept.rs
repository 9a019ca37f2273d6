//! Shrunk sequences that once failed. They are kept as operations, because a seed means another sequence as soon as the
//! generator changes. Paste a new one here from the message of the failure.

use super::operation::Operation::{self, BeginRun, Commit, EndRun, PutTeam, Release, Reserve, Switch, Wait};

const DAY_MS: i64 = 86_400_000;

/// Returns a call in flow 0 with a hold of one second.
fn reserve(id: u8, run: u8, model: u8, units: u32) -> Operation {
    Reserve { id, flow: 0, run, model, units, test: false, hold_seconds: 1, dry_run: false }
}

fn professional(included: i64) -> Operation {
    PutTeam { plan: 2, paid_seat: true, anchor_day: 31, included: Some(included) }
}

/// Returns each sequence, with a description of what went wrong.
pub(super) fn sequences() -> Vec<(&'static str, Vec<Operation>)> {
    vec![
        (
            "a forgotten reservation was charged from the cache",
            vec![
                reserve(4, 0, 0, 1),
                Wait { milliseconds: 25 * 3_600_000 },
                reserve(0, 0, 0, 1),
                Commit { id: 4, echo: false, units: None, model: None },
            ],
        ),
        (
            "a cached refusal answered a call with the run's ID under another flow",
            vec![
                reserve(3, 2, 0, 1),
                reserve(0, 2, 0, 150),
                Reserve { id: 0, flow: 1, run: 2, model: 0, units: 150, test: false, hold_seconds: 1, dry_run: false },
            ],
        ),
        (
            "a run completion hold that was not swept for days gave its credits to a new run with the same ID",
            vec![
                reserve(0, 1, 0, 1),
                professional(0),
                reserve(1, 1, 2, 3),
                professional(100),
                Wait { milliseconds: 20 * DAY_MS },
                reserve(2, 1, 0, 1),
                reserve(0, 1, 3, 41),
            ],
        ),
        (
            "a cached refusal answered a call of a run that the same sidecar had just ended",
            vec![
                BeginRun { flow: 0, run: 0 },
                reserve(0, 0, 0, 1),
                reserve(1, 0, 1, 20),
                EndRun { run: 0 },
                reserve(1, 0, 1, 20),
            ],
        ),
        (
            "a reservation from a lease, expired by a sidecar that slept for a day, was expired repeatedly",
            vec![
                professional(2_000),
                reserve(1, 0, 0, 1),
                Reserve { id: 0, flow: 0, run: 0, model: 0, units: 9, test: false, hold_seconds: 120, dry_run: false },
                reserve(5, 0, 3, 1),
                Wait { milliseconds: 25 * 3_600_000 },
                reserve(5, 0, 0, 1),
            ],
        ),
        (
            "a reservation from a lease that another sidecar committed was opened again after its own sidecar learned of the commit",
            vec![
                reserve(0, 1, 0, 1),
                Switch,
                Reserve { id: 2, flow: 0, run: 1, model: 0, units: 1, test: false, hold_seconds: 120, dry_run: false },
                Commit { id: 2, echo: true, units: None, model: None },
                Release { id: 2, echo: false },
                reserve(2, 0, 0, 1),
            ],
        ),
    ]
}
