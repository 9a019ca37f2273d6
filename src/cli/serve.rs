//! `tollgate serve`: a sidecar from the command line's options to the signal that ends it.

use std::{convert::Infallible, io::Write, str::FromStr, time::Duration};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE, Failure,
    duration::{parse_ms, parse_wait},
};
use crate::{
    clock::Clock,
    domain::policy::Policy,
    serve::{ListenAddress, ServeOptions, Sidecar, StartError},
    store::StoreLocation,
};

/// The most credits that a setting may name, so that sums stay far below what a store can add up.
const MAX_CREDITS: i64 = 1_000_000_000_000;

/// Options of `tollgate serve`.
#[derive(Clone, Args)]
pub(super) struct ServeArguments {
    /// Where executors reach QuotaService: host:port, or unix:/path/of/socket.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: ListenAddress,

    /// Where billing and operators reach AccountService and UsageService: host:port, or unix:/path/of/socket.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50052")]
    admin: ListenAddress,

    /// Where credits are kept: memory, embedded:DIRECTORY, redis://…, rediss://… or redis+unix://….
    ///
    /// The sidecars of one installation share one Redis or Valkey server; a memory or an embedded store has one sidecar.
    // A URL may hold a password: so it can come from the environment, which other users do not see, and it is not parsed by
    // clap, whose messages repeat what they do not understand.
    #[arg(long, value_name = "STORE", env = "TOLLGATE_STORE", hide_env_values = true)]
    #[arg(default_value = "embedded:./tollgate-data")]
    store: String,

    /// Refuse a Redis server that does not log its changes to disk (appendonly).
    #[arg(long)]
    require_aof: bool,

    /// How long a call waits for the store, for example 250ms; then it is answered UNAVAILABLE.
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = parse_wait)]
    store_wait: Duration,

    /// How long a run stays current without an EndRun, for example 24h.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_ms)]
    run_max_age: i64,

    /// How many credits one current run may use past the limit of a team with a paid seat: a number, or unlimited.
    #[arg(long, value_name = "CREDITS", default_value = "1000")]
    run_completion_credits: CompletionCredits,

    /// How far ahead a rate card has to be announced, for example 7d; never less than 10 seconds.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_ms)]
    rate_card_notice: i64,

    /// How long a committed reservation answers repeats, for example 2h.
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_ms)]
    reservation_retention: i64,
}

/// Credits that one run may use past the limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CompletionCredits(Option<i64>);

impl FromStr for CompletionCredits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        text.parse()
            .ok()
            .filter(|credits| (0..=MAX_CREDITS).contains(credits))
            .map(|credits| Self(Some(credits)))
            .ok_or_else(|| format!("must be a number of credits, 0 to {MAX_CREDITS}, or `unlimited`"))
    }
}

impl ServeArguments {
    fn options(self) -> Result<ServeOptions, Failure> {
        let store = StoreLocation::from_str(&self.store)
            .map_err(|error| Failure::new(EXIT_CONFIG, format!("--store is not understood: {error}")))?;
        let policy = Policy {
            run_max_age_ms: self.run_max_age,
            run_completion_credits: self.run_completion_credits.0,
            rate_card_notice_ms: self.rate_card_notice,
            committed_retention_ms: self.reservation_retention,
            ..Policy::default()
        };
        Ok(ServeOptions {
            listen: self.listen,
            admin: self.admin,
            store,
            policy,
            clock: Clock::default(),
            require_aof: self.require_aof,
            store_wait: self.store_wait,
            demo_teams: true,
            ..ServeOptions::default()
        })
    }
}

/// Serves until SIGTERM or SIGINT, then ends in an orderly way; a second signal ends it at once.
pub(super) async fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let options = arguments.options()?;
    let mut signals = Signals::listen()?;
    let mut sidecar = tokio::select! {
        started = Sidecar::start(options) => started.map_err(|error| not_started(&error))?,
        _ = signals.next() => return Ok(()),
    };
    // Whoever closed standard output does not want to read this, and is served all the same.
    let mut output = std::io::stdout();
    let _ = write!(output, "{}", sidecar.welcome()).and_then(|()| output.flush());

    let failed = tokio::select! {
        name = signals.next() => {
            tracing::info!("{name}: no new reservations; calls in flight finish");
            false
        }
        () = sidecar.broken() => true,
    };
    tokio::select! {
        () = sidecar.shutdown() => {}
        never = signals.exit_at_next() => match never {},
    }
    if failed {
        return Err(Failure::new(EXIT_SOFTWARE, "a part of the sidecar stopped by itself; the log says more"));
    }
    tracing::info!("stopped");
    Ok(())
}

fn not_started(error: &StartError) -> Failure {
    let code = match error {
        StartError::Listen(_) => EXIT_CONFIG,
        StartError::Store(_) | StartError::Gate(_) => EXIT_UNAVAILABLE,
        StartError::Reflection(_) => EXIT_SOFTWARE,
    };
    // The sentence is for whoever started it; what the system said to that is there for whoever wants to know more.
    tracing::debug!(?error, "not started");
    Failure::new(code, error)
}

/// The signals that end a sidecar.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(EXIT_SOFTWARE, format!("cannot listen for signals: {error}")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at the next signal, with the code that a shell gives to one that SIGKILL ended.
    async fn exit_at_next(&mut self) -> Infallible {
        let name = self.next().await;
        eprintln!("tollgate: {name} again: stopped at once");
        std::process::exit(137)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArguments,
    }

    fn options(arguments: &[&str]) -> ServeOptions {
        let line = Line::try_parse_from(["tollgate"].iter().chain(arguments)).unwrap();
        line.serve.options().unwrap()
    }

    #[test]
    fn what_is_not_said_is_what_the_product_ships() {
        let options = options(&[]);
        assert_eq!(options.policy, Policy::default());
        assert_eq!(options.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(options.admin.to_string(), "127.0.0.1:50052");
    }

    #[test]
    fn the_rules_that_are_open_can_be_set() {
        let options = options(&[
            "--run-max-age=36h",
            "--run-completion-credits=unlimited",
            "--rate-card-notice=1d",
            "--reservation-retention=90m",
        ]);
        assert_eq!(options.policy.run_max_age_ms, 129_600_000);
        assert_eq!(options.policy.run_completion_credits, None);
        assert_eq!(options.policy.rate_card_notice_ms, 86_400_000);
        assert_eq!(options.policy.committed_retention_ms, 5_400_000);
    }

    #[test]
    fn credits_past_the_limit_are_a_number_or_unlimited() {
        assert_eq!("0".parse(), Ok(CompletionCredits(Some(0))));
        assert_eq!("unlimited".parse(), Ok(CompletionCredits(None)));
        for text in ["-1", "many", "", "1000000000001"] {
            assert!(text.parse::<CompletionCredits>().is_err(), "{text}");
        }
    }
}
