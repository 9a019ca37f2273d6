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
            "a reservation that was forgotten was charged from memory",
            vec![
                reserve(4, 0, 0, 1),
                Wait { milliseconds: 25 * 3_600_000 },
                reserve(0, 0, 0, 1),
                Commit { id: 4, echo: false, units: None, model: None },
            ],
        ),
        (
            "a refusal from memory answered the run's id under another flow",
            vec![
                reserve(3, 2, 0, 1),
                reserve(0, 2, 0, 150),
                Reserve { id: 0, flow: 1, run: 2, model: 0, units: 150, test: false, hold_seconds: 1, dry_run: false },
            ],
        ),
        (
            "a hold past the limit that nobody swept for days gave its credits back to a new run of the same id",
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
            "a refusal from memory answered for a run that the same sidecar had just ended",
            vec![
                BeginRun { flow: 0, run: 0 },
                reserve(0, 0, 0, 1),
                reserve(1, 0, 1, 20),
                EndRun { run: 0 },
                reserve(1, 0, 1, 20),
            ],
        ),
        (
            "what was opened from a lease and expired by a sidecar that slept for a day was expired again and again",
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
            "what one sidecar opened from a lease and another committed was opened again after the first was told so",
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
