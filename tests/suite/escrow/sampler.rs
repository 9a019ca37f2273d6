//! Reads the counters of every team directly from the server until the test ends. Each sample is one atomic read, and
//! in each the allotment must cover what is used, held and leased.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use redis::{Connection, RedisResult};

/// Pause between two rounds. It leaves the cores to the processes under test.
const PAUSE: Duration = Duration::from_millis(1);

const FIELDS: [&str; 10] = [
    "included",
    "waived",
    "blocks",
    "used",
    "held",
    "leased",
    "run_completion",
    "above_hold",
    "overages_enabled",
    "cap_blocks",
];

/// The counters of one team's cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) allotment: i64,
    /// Maximum of used + held + leased: the allotment, or what overages may still buy.
    pub(super) bound: i64,
    pub(super) blocks: i64,
    pub(super) used: i64,
    pub(super) held: i64,
    pub(super) leased: i64,
    pub(super) run_completion: i64,
    pub(super) above_hold: i64,
}

impl Counters {
    /// Reads the counters of a team's current cycle. They are 0 before it has one.
    pub(super) fn read(connection: &mut Connection, team: &str) -> RedisResult<Self> {
        let cycles = format!("tollgate:{{{team}}}:cycles");
        let latest: Vec<String> = redis::cmd("ZRANGE").arg(cycles).arg(-1).arg(-1).query(connection)?;
        let Some(start) = latest.first() else { return Ok(Self::default()) };
        let cycle = format!("tollgate:{{{team}}}:cycle:{start}");
        let fields: [Option<i64>; FIELDS.len()] = redis::cmd("HMGET").arg(cycle).arg(&FIELDS).query(connection)?;
        let [included, waived, blocks, used, held, leased, run_completion, above_hold, overages, cap] =
            fields.map(Option::unwrap_or_default);
        let allotment = included + waived + 1_000 * blocks;
        let bound = if overages == 1 { allotment.max(included + waived + 1_000 * cap) } else { allotment };
        Ok(Self { allotment, bound, blocks, used, held, leased, run_completion, above_hold })
    }

    /// Returns all credits ever committed.
    pub(super) fn committed(&self) -> i64 {
        self.used + self.run_completion + self.above_hold
    }

    fn are_right_after(&self, before: &Self) -> bool {
        let covered = self.used + self.held + self.leased <= self.bound && self.used <= self.allotment;
        let grows = self.used >= before.used && self.committed() >= before.committed() && self.blocks >= before.blocks;
        covered && grows && self.held >= 0 && self.leased >= 0
    }
}

/// What was sampled.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) taken: u64,
    /// Number of samples in which the team had leases.
    pub(super) with_leases: u64,
    pub(super) most_leased: i64,
    /// How often the server was unavailable.
    pub(super) cut_off: u64,
}

/// Samples until `end` is set. The thread's result is the first wrong sample, if there was one.
pub(super) fn sample(socket: PathBuf, teams: Vec<String>, end: Arc<AtomicBool>) -> JoinHandle<Result<Samples, String>> {
    std::thread::spawn(move || {
        let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
        let mut samples = Samples::default();
        let mut last: BTreeMap<String, Counters> = BTreeMap::new();
        let mut connection = None;
        while !end.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
            let Some(open) = connection.as_mut() else {
                connection = client.get_connection().ok();
                continue;
            };
            for team in &teams {
                let Ok(counters) = Counters::read(open, team) else {
                    samples.cut_off += 1;
                    connection = None;
                    break;
                };
                let before = last.entry(team.clone()).or_default();
                if !counters.are_right_after(before) {
                    return Err(format!("{team}, sample {}: {counters:?} after {before:?}", samples.taken));
                }
                samples.taken += 1;
                samples.most_leased = samples.most_leased.max(counters.leased);
                samples.with_leases += u64::from(counters.leased > 0);
                *before = counters;
            }
        }
        Ok(samples)
    })
}
