//! What every measurement needs: the load client, a floor for each transport, and sidecars to compare with the floor.

use std::{fs, ops::Range, path::PathBuf};

use tempfile::TempDir;

use super::{
    arguments::{Flush, Settings},
    effort::Effort,
    load_client::LoadClient,
    order::{Load, Measured, Teams, Until, Work},
    redis_server::RedisServer,
    rounds::Rounds,
    row::{StoreKind, Transport},
    server::Server,
};

/// Number of concurrent calls that prepare a measurement.
const SEEDS_AT_ONCE: u32 = 256;

/// What every measurement needs.
pub(crate) struct Stage {
    pub(crate) client: LoadClient,
    pub(crate) effort: Effort,
    floors: [Server; 2],
    flush: Flush,
    /// Directory for the files of stores, on the disk of the build.
    files: PathBuf,
}

/// A sidecar and its store.
pub(crate) struct Gate {
    pub(crate) sidecar: Server,
    pub(crate) redis: Option<RedisServer>,
    transport: Transport,
    _directory: Option<TempDir>,
}

impl Stage {
    /// Starts the load client and the floors. Stores keep their files under `files`, which is emptied first, because an
    /// interrupted run leaves its files there.
    pub(crate) fn new(settings: &Settings, effort: Effort, files: PathBuf) -> anyhow::Result<Self> {
        if files.exists() {
            fs::remove_dir_all(&files)?;
        }
        fs::create_dir_all(&files)?;
        let [tcp, unix] = Transport::ALL.map(Server::floor);
        Ok(Self { client: LoadClient::start()?, effort, floors: [tcp?, unix?], flush: settings.appendfsync, files })
    }

    /// Starts a sidecar with a new store, and creates the teams with these numbers.
    pub(crate) fn gate(&mut self, store: StoreKind, transport: Transport, teams: Range<u32>) -> anyhow::Result<Gate> {
        self.gate_with(&[], store, transport, teams)
    }

    /// Does the same as [`Self::gate`], with more settings.
    pub(crate) fn gate_with(
        &mut self,
        settings: &[&str],
        store: StoreKind,
        transport: Transport,
        teams: Range<u32>,
    ) -> anyhow::Result<Gate> {
        let (mut redis, mut directory) = (None, None);
        let location = match store {
            StoreKind::Memory => "memory".to_owned(),
            StoreKind::Embedded => {
                let made = directory.insert(TempDir::with_prefix_in("embedded-", &self.files)?);
                format!("embedded:{}", made.path().join("data").display())
            }
            StoreKind::Redis | StoreKind::Escrow => redis.insert(self.redis()?).url().to_owned(),
        };
        let sidecar = Server::sidecar(transport, &location, &[store.settings(), settings].concat())?;
        let gate = Gate { sidecar, redis, transport, _directory: directory };
        self.client.make_teams(gate.sidecar.admin(), teams)?;
        Ok(gate)
    }

    /// Starts a new Redis server.
    pub(crate) fn redis(&self) -> anyhow::Result<RedisServer> {
        RedisServer::start(&self.files, self.flush)
    }

    /// Compares a gate with the floor in all rounds.
    pub(crate) fn compare(&mut self, gate: &Gate, work: Work, teams: Teams, at_once: u32) -> anyhow::Result<Rounds> {
        self.compare_for(self.effort.rounds, gate, work, teams, at_once)
    }

    /// Compares a gate with the floor in this many rounds.
    pub(crate) fn compare_for(
        &mut self,
        rounds: usize,
        gate: &Gate,
        work: Work,
        teams: Teams,
        at_once: u32,
    ) -> anyhow::Result<Rounds> {
        let floor = self.load(self.floor(gate.transport), work, teams, at_once);
        let load = self.load(&gate.sidecar, work, teams, at_once);
        Rounds::alternate(&mut self.client, rounds, &floor, &load)
    }

    pub(crate) fn load(&self, server: &Server, work: Work, teams: Teams, at_once: u32) -> Load {
        let Effort { warm_up_ms, measure_ms, .. } = self.effort;
        let until = Until::Elapsed { warm_up_ms, measure_ms };
        Load { address: server.data().to_owned(), at_once, work, teams, until }
    }

    fn floor(&self, transport: Transport) -> &Server {
        let [tcp, unix] = &self.floors;
        match transport {
            Transport::Tcp => tcp,
            Transport::Unix => unix,
        }
    }

    /// Makes this many calls at a gate, as fast as it answers.
    pub(crate) fn make_calls(
        &mut self,
        gate: &Gate,
        work: Work,
        teams: Teams,
        operations: u32,
    ) -> anyhow::Result<Measured> {
        self.make_calls_until(gate, work, teams, SEEDS_AT_ONCE, Until::Done { operations })
    }

    /// Makes calls at a gate, with this concurrency, until the given end.
    pub(crate) fn make_calls_until(
        &mut self,
        gate: &Gate,
        work: Work,
        teams: Teams,
        at_once: u32,
        until: Until,
    ) -> anyhow::Result<Measured> {
        self.client.measure(&Load { until, ..self.load(&gate.sidecar, work, teams, at_once) })
    }
}
