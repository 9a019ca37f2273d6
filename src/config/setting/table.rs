//! One line for each setting.

use std::{ops::RangeInclusive, time::Duration};

use super::{Kind, Setting};
use crate::domain::lease::{MAX_LEASE_HOLD_MS, MAX_LEASE_TERM_MS};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A rule's duration: at most ten years, far below what a store's sums can hold.
const OF_A_RULE: RangeInclusive<i64> = SECOND_MS..=3_650 * DAY_MS;

/// So many credits are far below what a store can add up.
const MAX_CREDITS: i64 = 1_000_000_000_000;

const WHERE: &str = "Where";
const END: &str = "The end";
const ACCESS: &str = "Who is let in";
const RULES: &str = "Rules";
const ESCROW: &str = "Escrow";
const LOG: &str = "Log";
const LIMITS: &str = "Limits of each listener";

/// All settings, in the order in which they are shown.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        value_name: "ADDRESS",
        default: "127.0.0.1:50051",
        help: "Where executors reach QuotaService.",
        heading: WHERE,
        kind: Kind::Address(|settings, address| settings.serve.listen = address),
    },
    Setting {
        key: "admin",
        value_name: "ADDRESS",
        default: "127.0.0.1:50052",
        help: "Where billing and operators reach AccountService and UsageService.",
        heading: WHERE,
        kind: Kind::Address(|settings, address| settings.serve.admin = address),
    },
    Setting {
        key: "probe",
        value_name: "ADDRESS",
        default: "off",
        help: "Where kubelets and Prometheus reach health and /metrics, in plaintext, and nothing else.",
        heading: WHERE,
        kind: Kind::Port(|settings, address| settings.serve.probe = address),
    },
    Setting {
        key: "metrics_teams",
        value_name: "TEAMS",
        default: "0",
        help: "How many teams have decisions and credits of their own in /metrics, those that come first; the rest is `other`.",
        heading: WHERE,
        kind: Kind::Number(0..=1_000, |settings, teams| settings.serve.metrics_teams = teams),
    },
    Setting {
        key: "otlp_endpoint",
        value_name: "URL",
        default: "off",
        help: "The OTLP collector (gRPC) that is sent a span of each call whose caller traces it.",
        heading: WHERE,
        kind: Kind::Collector(|settings, url| settings.serve.otlp_endpoint = url),
    },
    Setting {
        key: "listen_tls_certificate",
        value_name: "FILE",
        default: "none",
        help: "The certificate of the data listener, and those that lead to its authority, in PEM: with it, it speaks TLS.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.listen_tls.certificate = file),
    },
    Setting {
        key: "listen_tls_key",
        value_name: "FILE",
        default: "none",
        help: "The private key of that certificate, in PEM.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.listen_tls.key = file),
    },
    Setting {
        key: "listen_tls_client_ca",
        value_name: "FILE",
        default: "none",
        help: "The authorities of executors, in PEM: with it, each needs a certificate of one of them.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.listen_tls.client_ca = file),
    },
    Setting {
        key: "admin_tls_certificate",
        value_name: "FILE",
        default: "none",
        help: "The certificate of the admin listener, and those that lead to its authority, in PEM: with it, it speaks TLS.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.admin_tls.certificate = file),
    },
    Setting {
        key: "admin_tls_key",
        value_name: "FILE",
        default: "none",
        help: "The private key of that certificate, in PEM.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.admin_tls.key = file),
    },
    Setting {
        key: "admin_tls_client_ca",
        value_name: "FILE",
        default: "none",
        help: "The authorities of billing and operators, in PEM: with it, each needs a certificate of one of them.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.admin_tls.client_ca = file),
    },
    Setting {
        key: "admin_token_file",
        value_name: "FILE",
        default: "none",
        help: "The file with the token that calls of the admin listener need: one word, with or without a line end.",
        heading: ACCESS,
        kind: Kind::File(|settings, file| settings.serve.access.admin_token_file = file),
    },
    Setting {
        key: "store",
        value_name: "STORE",
        default: "embedded:./tollgate-data",
        help: "Where credits are kept. Sidecars of one installation share one Redis or Valkey server.",
        heading: WHERE,
        kind: Kind::Store,
    },
    Setting {
        key: "store_wait",
        value_name: "DURATION",
        default: "250ms",
        help: "How long a call waits for the store: its caller waits to call a model, and is better told to come again.",
        heading: WHERE,
        kind: Kind::Milliseconds(10..=30 * SECOND_MS, |settings, wait_ms| settings.serve.store_wait = lasting(wait_ms)),
    },
    Setting {
        key: "require_aof",
        value_name: "SWITCH",
        default: "false",
        help: "Refuse a Redis server that does not log its changes to disk (appendonly).",
        heading: WHERE,
        kind: Kind::Switch(|settings, on| settings.serve.require_aof = on),
    },
    Setting {
        key: "drain_delay",
        value_name: "DURATION",
        default: "5s",
        help: "How long everything is still served after a signal to stop: so long others take to learn that it is not ready.",
        heading: END,
        kind: Kind::Milliseconds(0..=10 * MINUTE_MS, |settings, delay_ms| {
            settings.serve.drain_delay = lasting(delay_ms)
        }),
    },
    Setting {
        key: "run_max_age",
        value_name: "DURATION",
        default: "24h",
        help: "How long a run stays current without an EndRun.",
        heading: RULES,
        kind: Kind::Milliseconds(OF_A_RULE, |settings, age_ms| settings.serve.policy.run_max_age_ms = age_ms),
    },
    Setting {
        key: "run_completion_credits",
        value_name: "CREDITS",
        default: "1000",
        help: "How many credits one current run may use past the limit of a team with a paid seat.",
        heading: RULES,
        kind: Kind::Credits(0..=MAX_CREDITS, |settings, credits| {
            settings.serve.policy.run_completion_credits = credits;
        }),
    },
    Setting {
        key: "rate_card_notice",
        value_name: "DURATION",
        default: "7d",
        help: "How far ahead a rate card has to be announced; ten seconds is what sidecars need to hear of it.",
        heading: RULES,
        kind: Kind::Milliseconds(10 * SECOND_MS..=3_650 * DAY_MS, |settings, notice_ms| {
            settings.serve.policy.rate_card_notice_ms = notice_ms;
        }),
    },
    Setting {
        key: "reservation_retention",
        value_name: "DURATION",
        default: "2h",
        help: "How long a committed reservation answers repeats; five minutes at least.",
        heading: RULES,
        kind: Kind::Milliseconds(OF_A_RULE, |settings, retention_ms| {
            settings.serve.policy.committed_retention_ms = retention_ms;
        }),
    },
    Setting {
        key: "escrow",
        value_name: "MODE",
        default: "auto",
        help: "Whether, on Redis, calls of busy teams are answered from memory, from credits taken out in advance.",
        heading: ESCROW,
        kind: Kind::Escrow,
    },
    Setting {
        key: "lease_term",
        value_name: "DURATION",
        default: "30s",
        help: "How long credits are taken out for: long enough to be worth it, and so long they lie idle where a team moves on.",
        heading: ESCROW,
        kind: Kind::Milliseconds(2 * SECOND_MS..=MAX_LEASE_TERM_MS, |settings, term_ms| {
            settings.serve.escrow.terms.term_ms = term_ms;
        }),
    },
    Setting {
        key: "lease_hold",
        value_name: "DURATION",
        default: "2m",
        help: "The longest hold that memory answers; with the term, so long the credits of a sidecar that died are away.",
        heading: ESCROW,
        kind: Kind::Milliseconds(SECOND_MS..=MAX_LEASE_HOLD_MS, |settings, hold_ms| {
            settings.serve.escrow.terms.hold_ms = hold_ms;
        }),
    },
    Setting {
        key: "max_slice",
        value_name: "CREDITS",
        default: "10000",
        help: "The most credits taken out at once: what a sidecar that dies keeps from its team meanwhile.",
        heading: ESCROW,
        kind: Kind::Amount(1..=MAX_CREDITS, |settings, credits| settings.serve.escrow.max_lease_credits = credits),
    },
    Setting {
        key: "log",
        value_name: "FILTER",
        default: "info",
        help: "What is logged, on standard error. RUST_LOG is asked if nothing else says it.",
        heading: LOG,
        kind: Kind::LogFilter,
    },
    Setting {
        key: "log_format",
        value_name: "FORMAT",
        default: "text",
        help: "Lines for people, or one JSON object a line for machines.",
        heading: LOG,
        kind: Kind::LogFormat,
    },
    Setting {
        key: "max_message_bytes",
        value_name: "BYTES",
        default: "65536",
        help: "The largest request that is read: only a rate card of hundreds of models is larger.",
        heading: LIMITS,
        kind: Kind::Number(4_096..=4_194_304, |settings, bytes| settings.serve.limits.max_message_bytes = bytes),
    },
    Setting {
        key: "max_header_bytes",
        value_name: "BYTES",
        default: "16384",
        help: "The largest list of headers of one call: a trace context and a bearer token take about two thousand.",
        heading: LIMITS,
        kind: Kind::Number(4_096..=1_048_576, |settings, bytes| settings.serve.limits.max_header_bytes = bytes),
    },
    Setting {
        key: "max_calls_per_connection",
        value_name: "CALLS",
        default: "256",
        help: "How many calls one connection may have in flight: a quarter of all, so that no client takes all of them.",
        heading: LIMITS,
        kind: Kind::Number(1..=65_536, |settings, calls| settings.serve.limits.max_calls_per_connection = calls),
    },
    Setting {
        key: "max_calls",
        value_name: "CALLS",
        default: "1024",
        help: "How many calls all connections may have in flight: more are told to come again, before memory grows.",
        heading: LIMITS,
        kind: Kind::Number(1..=1_000_000, |settings, calls| settings.serve.limits.max_calls = calls),
    },
    Setting {
        key: "max_streams",
        value_name: "STREAMS",
        default: "256",
        help: "How many watches of the health and talks with reflection may be open: they last as long as clients like.",
        heading: LIMITS,
        kind: Kind::Number(1..=65_536, |settings, streams| settings.serve.limits.max_streams = streams),
    },
    Setting {
        key: "max_call_time",
        value_name: "DURATION",
        default: "10s",
        help: "How long a call may take to arrive and be answered, so that nobody holds a place a byte at a time.",
        heading: LIMITS,
        kind: Kind::Milliseconds(100..=10 * MINUTE_MS, |settings, time_ms| {
            settings.serve.limits.max_call_time = lasting(time_ms);
        }),
    },
    Setting {
        key: "max_connections",
        value_name: "CONNECTIONS",
        default: "256",
        help: "How many connections are open at once: one more takes the place of the one that was silent for longest.",
        heading: LIMITS,
        kind: Kind::Number(1..=65_536, |settings, connections| settings.serve.limits.max_connections = connections),
    },
    Setting {
        key: "handshake_timeout",
        value_name: "DURATION",
        default: "5s",
        help: "How long a new connection has to send its first bytes of HTTP/2, so that a silent one takes no place.",
        heading: LIMITS,
        kind: Kind::Milliseconds(100..=MINUTE_MS, |settings, wait_ms| {
            settings.serve.limits.handshake_timeout = lasting(wait_ms);
        }),
    },
    Setting {
        key: "keepalive_interval",
        value_name: "DURATION",
        default: "30s",
        help: "A silent connection is asked this often whether its client is still there.",
        heading: LIMITS,
        kind: Kind::Milliseconds(SECOND_MS..=HOUR_MS, |settings, pause_ms| {
            settings.serve.limits.keepalive_interval = lasting(pause_ms);
        }),
    },
    Setting {
        key: "keepalive_timeout",
        value_name: "DURATION",
        default: "10s",
        help: "How long a client has to answer that question before its connection is closed.",
        heading: LIMITS,
        kind: Kind::Milliseconds(100..=10 * MINUTE_MS, |settings, wait_ms| {
            settings.serve.limits.keepalive_timeout = lasting(wait_ms);
        }),
    },
    Setting {
        key: "max_connection_age",
        value_name: "DURATION",
        default: "1h",
        help: "After so long a connection is asked to end once its calls are answered, so that clients find new sidecars.",
        heading: LIMITS,
        kind: Kind::Milliseconds(10 * SECOND_MS..=30 * DAY_MS, |settings, age_ms| {
            settings.serve.limits.max_connection_age = lasting(age_ms);
        }),
    },
];

fn lasting(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.unsigned_abs())
}
