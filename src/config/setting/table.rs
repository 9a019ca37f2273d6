//! One entry for each setting.

use std::{ops::RangeInclusive, time::Duration};

use super::{Setting, ValueType};
use crate::domain::lease::{MAX_LEASE_HOLD_MS, MAX_LEASE_TERM_MS};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Range of a rule's duration. Ten years is far below what the store's 64-bit sums can hold.
const RULE_DURATION_MS: RangeInclusive<i64> = SECOND_MS..=3_650 * DAY_MS;

/// Largest number of credits in a setting. It is far below what the store's 64-bit sums can hold.
const MAX_CREDITS: i64 = 1_000_000_000_000;

const ADDRESSES: &str = "Listeners and store";
const SHUTDOWN: &str = "Shutdown";
const ACCESS: &str = "TLS and tokens";
const RULES: &str = "Rules";
const ESCROW: &str = "Escrow";
const LOG: &str = "Log";
const LIMITS: &str = "Limits (each listener)";

/// All settings, in the order in which `--help` and `check-config` show them.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        value_name: "ADDRESS",
        default: "127.0.0.1:50051",
        help: "Address of the data listener, where executors call QuotaService.",
        heading: ADDRESSES,
        value_type: ValueType::Address(|settings, address| settings.serve.listen = address),
    },
    Setting {
        key: "admin",
        value_name: "ADDRESS",
        default: "127.0.0.1:50052",
        help: "Address of the admin listener, where billing and operators call AccountService and UsageService.",
        heading: ADDRESSES,
        value_type: ValueType::Address(|settings, address| settings.serve.admin = address),
    },
    Setting {
        key: "probe",
        value_name: "ADDRESS",
        default: "off",
        help: "Address of the probe listener: gRPC health and /metrics in plaintext, for the kubelet and Prometheus.",
        heading: ADDRESSES,
        value_type: ValueType::OptionalPort(|settings, address| settings.serve.probe = address),
    },
    Setting {
        key: "metrics_teams",
        value_name: "TEAMS",
        default: "0",
        help: "Number of teams with their own `team` label in /metrics. The first teams seen get one; all others share `other`.",
        heading: ADDRESSES,
        value_type: ValueType::Number(0..=1_000, |settings, teams| settings.serve.metrics_teams = teams),
    },
    Setting {
        key: "otlp_endpoint",
        value_name: "URL",
        default: "off",
        help: "OTLP/gRPC collector. The sidecar sends it one span for each call whose caller is traced.",
        heading: ADDRESSES,
        value_type: ValueType::Collector(|settings, url| settings.serve.otlp_endpoint = url),
    },
    Setting {
        key: "listen_tls_certificate",
        value_name: "FILE",
        default: "none",
        help: "Certificate chain of the data listener (PEM). Setting it turns TLS on.",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.listen_tls.certificate = file),
    },
    Setting {
        key: "listen_tls_key",
        value_name: "FILE",
        default: "none",
        help: "Private key of the data listener's certificate (PEM).",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.listen_tls.key = file),
    },
    Setting {
        key: "listen_tls_client_ca",
        value_name: "FILE",
        default: "none",
        help: "CA certificates (PEM) for mutual TLS on the data listener. Every client must then present a certificate that one of them signed.",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.listen_tls.client_ca = file),
    },
    Setting {
        key: "admin_tls_certificate",
        value_name: "FILE",
        default: "none",
        help: "Certificate chain of the admin listener (PEM). Setting it turns TLS on.",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.admin_tls.certificate = file),
    },
    Setting {
        key: "admin_tls_key",
        value_name: "FILE",
        default: "none",
        help: "Private key of the admin listener's certificate (PEM).",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.admin_tls.key = file),
    },
    Setting {
        key: "admin_tls_client_ca",
        value_name: "FILE",
        default: "none",
        help: "CA certificates (PEM) for mutual TLS on the admin listener. Every client must then present a certificate that one of them signed.",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.admin_tls.client_ca = file),
    },
    Setting {
        key: "admin_token_file",
        value_name: "FILE",
        default: "none",
        help: "File with the bearer token that calls to the admin listener must send. It holds one word; a trailing newline is ignored.",
        heading: ACCESS,
        value_type: ValueType::File(|settings, file| settings.serve.access.admin_token_file = file),
    },
    Setting {
        key: "store",
        value_name: "STORE",
        default: "embedded:./tollgate-data",
        help: "Where credits are kept. Sidecars of one installation share one Redis or Valkey server.",
        heading: ADDRESSES,
        value_type: ValueType::Store,
    },
    Setting {
        key: "store_wait",
        value_name: "DURATION",
        default: "250ms",
        help: "How long a call waits for the store before it fails with UNAVAILABLE.",
        heading: ADDRESSES,
        value_type: ValueType::Milliseconds(10..=30 * SECOND_MS, |settings, wait_ms| {
            settings.serve.store_wait = duration(wait_ms)
        }),
    },
    Setting {
        key: "store_start_wait",
        value_name: "DURATION",
        default: "30s",
        help: "How long a start waits for a Redis that cannot be reached. The sidecar is alive and not ready meanwhile.",
        heading: ADDRESSES,
        value_type: ValueType::Milliseconds(0..=HOUR_MS, |settings, wait_ms| {
            settings.serve.store_start_wait = duration(wait_ms)
        }),
    },
    Setting {
        key: "require_aof",
        value_name: "SWITCH",
        default: "false",
        help: "Whether to refuse a Redis server that does not log its changes to disk (`appendonly yes`).",
        heading: ADDRESSES,
        value_type: ValueType::Switch(|settings, on| settings.serve.require_aof = on),
    },
    Setting {
        key: "drain_delay",
        value_name: "DURATION",
        default: "5s",
        help: "How long to keep serving after SIGTERM, so that load balancers notice.",
        heading: SHUTDOWN,
        value_type: ValueType::Milliseconds(0..=10 * MINUTE_MS, |settings, delay_ms| {
            settings.serve.drain_delay = duration(delay_ms)
        }),
    },
    Setting {
        key: "run_max_age",
        value_name: "DURATION",
        default: "24h",
        help: "How long a run without an EndRun stays current. Only a current run may go past the limit.",
        heading: RULES,
        value_type: ValueType::Milliseconds(RULE_DURATION_MS, |settings, age_ms| {
            settings.serve.policy.run_max_age_ms = age_ms
        }),
    },
    Setting {
        key: "run_completion_credits",
        value_name: "CREDITS",
        default: "1000",
        help: "Credits that one current run may use past the limit, if the team has a paid seat.",
        heading: RULES,
        value_type: ValueType::OptionalCredits(0..=MAX_CREDITS, |settings, credits| {
            settings.serve.policy.run_completion_credits = credits;
        }),
    },
    Setting {
        key: "rate_card_notice",
        value_name: "DURATION",
        default: "7d",
        help: "How far ahead a new rate card must be announced. Sidecars need at least 10 seconds to load it.",
        heading: RULES,
        value_type: ValueType::Milliseconds(10 * SECOND_MS..=3_650 * DAY_MS, |settings, notice_ms| {
            settings.serve.policy.rate_card_notice_ms = notice_ms;
        }),
    },
    Setting {
        key: "reservation_retention",
        value_name: "DURATION",
        default: "2h",
        help: "How long a repeated Commit still gets its first answer. Values below 5 minutes count as 5 minutes.",
        heading: RULES,
        value_type: ValueType::Milliseconds(RULE_DURATION_MS, |settings, retention_ms| {
            settings.serve.policy.committed_retention_ms = retention_ms;
        }),
    },
    Setting {
        key: "escrow",
        value_name: "MODE",
        default: "auto",
        help: "Whether calls of busy teams on Redis are answered from memory, using credits that the sidecar leased in advance.",
        heading: ESCROW,
        value_type: ValueType::Escrow,
    },
    Setting {
        key: "lease_term",
        value_name: "DURATION",
        default: "30s",
        help: "How long a lease lasts. A longer lease means fewer store calls, but unused credits stay set aside for up to this long.",
        heading: ESCROW,
        value_type: ValueType::Milliseconds(2 * SECOND_MS..=MAX_LEASE_TERM_MS, |settings, term_ms| {
            settings.serve.escrow.terms.term_ms = term_ms;
        }),
    },
    Setting {
        key: "lease_hold",
        value_name: "DURATION",
        default: "2m",
        help: "Longest hold that can be answered from a lease. The credits of a crashed sidecar return after `lease_term` + `lease_hold` + 1 s.",
        heading: ESCROW,
        value_type: ValueType::Milliseconds(SECOND_MS..=MAX_LEASE_HOLD_MS, |settings, hold_ms| {
            settings.serve.escrow.terms.hold_ms = hold_ms;
        }),
    },
    Setting {
        key: "max_slice",
        value_name: "CREDITS",
        default: "10000",
        help: "Maximum credits in one lease. A larger lease means fewer store calls, but a crashed sidecar keeps more credits from its team.",
        heading: ESCROW,
        value_type: ValueType::Credits(1..=MAX_CREDITS, |settings, credits| {
            settings.serve.escrow.max_lease_credits = credits
        }),
    },
    Setting {
        key: "log",
        value_name: "FILTER",
        default: "info",
        help: "Log level, for everything or for each module. The log goes to standard error; RUST_LOG applies if this is not set.",
        heading: LOG,
        value_type: ValueType::LogFilter,
    },
    Setting {
        key: "log_format",
        value_name: "FORMAT",
        default: "text",
        help: "Format of a log line: text for people, or one JSON object for programs.",
        heading: LOG,
        value_type: ValueType::LogFormat,
    },
    Setting {
        key: "max_message_bytes",
        value_name: "BYTES",
        default: "65536",
        help: "Largest request message in bytes. Only a rate card with hundreds of models needs more than the default.",
        heading: LIMITS,
        value_type: ValueType::Number(4_096..=4_194_304, |settings, bytes| {
            settings.serve.limits.max_message_bytes = bytes
        }),
    },
    Setting {
        key: "max_header_bytes",
        value_name: "BYTES",
        default: "16384",
        help: "Largest header list of one call in bytes. A trace context and a bearer token take about 2,000 bytes.",
        heading: LIMITS,
        value_type: ValueType::Number(4_096..=1_048_576, |settings, bytes| {
            settings.serve.limits.max_header_bytes = bytes
        }),
    },
    Setting {
        key: "max_calls_per_connection",
        value_name: "CALLS",
        default: "256",
        help: "Maximum number of calls in flight on one connection. Keep it below `max_calls`, so that one client cannot use every slot.",
        heading: LIMITS,
        value_type: ValueType::Number(1..=65_536, |settings, calls| {
            settings.serve.limits.max_calls_per_connection = calls
        }),
    },
    Setting {
        key: "max_calls",
        value_name: "CALLS",
        default: "1024",
        help: "Maximum number of calls in flight on all connections together. Further calls fail with RESOURCE_EXHAUSTED, which bounds memory.",
        heading: LIMITS,
        value_type: ValueType::Number(1..=1_000_000, |settings, calls| settings.serve.limits.max_calls = calls),
    },
    Setting {
        key: "max_streams",
        value_name: "STREAMS",
        default: "256",
        help: "Maximum number of open health watches and reflection streams. They have their own limit because clients keep them open.",
        heading: LIMITS,
        value_type: ValueType::Number(1..=65_536, |settings, streams| settings.serve.limits.max_streams = streams),
    },
    Setting {
        key: "max_call_time",
        value_name: "DURATION",
        default: "10s",
        help: "Longest time to receive a request and answer it. A slow client cannot occupy a slot for longer.",
        heading: LIMITS,
        value_type: ValueType::Milliseconds(100..=10 * MINUTE_MS, |settings, time_ms| {
            settings.serve.limits.max_call_time = duration(time_ms);
        }),
    },
    Setting {
        key: "max_connections",
        value_name: "CONNECTIONS",
        default: "256",
        help: "Maximum number of open connections. When the limit is reached, a new connection replaces the one that has been idle for longest.",
        heading: LIMITS,
        value_type: ValueType::Number(1..=65_536, |settings, connections| {
            settings.serve.limits.max_connections = connections
        }),
    },
    Setting {
        key: "handshake_timeout",
        value_name: "DURATION",
        default: "5s",
        help: "How long a new connection may take to send its first HTTP/2 bytes before it is closed.",
        heading: LIMITS,
        value_type: ValueType::Milliseconds(100..=MINUTE_MS, |settings, wait_ms| {
            settings.serve.limits.handshake_timeout = duration(wait_ms);
        }),
    },
    Setting {
        key: "keepalive_interval",
        value_name: "DURATION",
        default: "30s",
        help: "How long a connection may be silent before the sidecar sends a ping.",
        heading: LIMITS,
        value_type: ValueType::Milliseconds(SECOND_MS..=HOUR_MS, |settings, pause_ms| {
            settings.serve.limits.keepalive_interval = duration(pause_ms);
        }),
    },
    Setting {
        key: "keepalive_timeout",
        value_name: "DURATION",
        default: "10s",
        help: "How long to wait for the answer to a ping, or for a client to read, before the connection is closed.",
        heading: LIMITS,
        value_type: ValueType::Milliseconds(100..=10 * MINUTE_MS, |settings, wait_ms| {
            settings.serve.limits.keepalive_timeout = duration(wait_ms);
        }),
    },
    Setting {
        key: "max_connection_age",
        value_name: "DURATION",
        default: "1h",
        help: "How long a connection lives before clients are asked to reconnect (GOAWAY), so that they find new sidecars.",
        heading: LIMITS,
        value_type: ValueType::Milliseconds(10 * SECOND_MS..=30 * DAY_MS, |settings, age_ms| {
            settings.serve.limits.max_connection_age = duration(age_ms);
        }),
    },
];

fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds.unsigned_abs())
}
