//! The conductor's side of the load client.

use std::{
    env,
    io::Write as _,
    ops::Range,
    process::{ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{
    order::{Answer, Drain, Drained, Load, Measured, Order},
    process::Running,
};

/// The process of the load client.
pub(crate) struct LoadClient {
    process: Running,
    orders: ChildStdin,
}

impl LoadClient {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut process = Running::start(Command::new(env::current_exe()?).arg("load").stdin(Stdio::piped()))?;
        let orders = process.child().stdin.take().context("the load client has no standard input")?;
        Ok(Self { process, orders })
    }

    /// Creates the suspended team, and the teams with these numbers.
    pub(crate) fn make_teams(&mut self, admin: &str, numbers: Range<u32>) -> anyhow::Result<()> {
        match self.ask(&Order::MakeTeams { admin: admin.to_owned(), numbers })? {
            Answer::Failed(problem) => bail!("teams could not be made: {problem}"),
            _ => Ok(()),
        }
    }

    /// Makes calls. Some failures are a result; if all calls fail, that is an error.
    pub(crate) fn measure(&mut self, load: &Load) -> anyhow::Result<Measured> {
        match self.ask(&Order::Load(load.clone()))? {
            Answer::Measured(Measured { operations: 0, failure, .. }) => {
                bail!("no call had the expected answer: {}", failure.unwrap_or_default())
            }
            Answer::Measured(measured) => Ok(measured),
            Answer::Failed(problem) => bail!("calls could not be made: {problem}"),
            _ => bail!("the load client sent an unexpected answer"),
        }
    }

    /// Lets executors reserve all credits of a team.
    pub(crate) fn drain(&mut self, drain: Drain) -> anyhow::Result<Drained> {
        match self.ask(&Order::Drain(drain))? {
            Answer::Drained(drained) => Ok(drained),
            Answer::Failed(problem) => bail!("the team could not be drained: {problem}"),
            _ => bail!("the load client sent an unexpected answer"),
        }
    }

    /// Returns the sum of a team's used, held and leased credits.
    pub(crate) fn set_aside(&mut self, admin: &str, team: String) -> anyhow::Result<i64> {
        match self.ask(&Order::Books { admin: admin.to_owned(), team })? {
            Answer::Credits(credits) => Ok(credits),
            Answer::Failed(problem) => bail!("the books could not be read: {problem}"),
            _ => bail!("the load client sent an unexpected answer"),
        }
    }

    fn ask(&mut self, order: &Order) -> anyhow::Result<Answer> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        let line = self.process.line()?.context("the load client ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}
