//! `tollgate probe`: whether a sidecar serves, for whoever starts and stops it by that.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    connection::{Admin, CallError, attempt, connect},
    failure::Stop,
    output::{OutputArguments, print, print_json, styled},
};
use crate::{client::SidecarAddress, exit_code::CommandError};

/// Whoever probes asks again soon, and has a limit of its own.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What to probe.
#[derive(Args, Clone, Debug)]
pub struct ProbeArguments {
    /// A service by its full name, such as tollgate.v1.QuotaService; without it, the whole listener
    pub service: Option<String>,
    /// Probes this data listener, host:port or unix:/path, and not the admin listener
    #[arg(long, value_name = "ADDRESS")]
    pub data: Option<SidecarAddress>,
    #[command(flatten)]
    pub(super) admin: Admin,
    #[command(flatten)]
    pub(super) format: OutputArguments,
}

#[derive(Serialize)]
struct ProbeJson<'a> {
    address: String,
    service: &'a str,
    status: &'static str,
}

/// Whether it serves.
pub(super) async fn run(arguments: ProbeArguments) -> Result<bool, Stop> {
    // The health is told to everybody who can connect, so nobody needs a token for it.
    let (listener, option) = match arguments.data {
        Some(data) => (arguments.admin.listener_at(data, None)?, "--data"),
        None => (arguments.admin.listener(false)?, "--admin"),
    };
    let service = arguments.service.unwrap_or_default();
    let mut client = HealthClient::new(connect(&listener, option).await?);
    let request = HealthCheckRequest { service: service.clone() };
    let answer = match attempt(client.check(request), CHECK_TIMEOUT, &listener, option).await {
        Err(CallError::NotFound(CommandError { code, .. })) => {
            let sentence = format!("the listener at {listener} has no service {}", service.escape_default());
            return Err(CommandError::new(code, sentence).into());
        }
        other => other?,
    };
    let serving = answer.status() == ServingStatus::Serving;
    let status = answer.status().as_str_name();
    let shown = match arguments.format.json {
        true => print_json(&ProbeJson { address: listener.to_string(), service: &service, status }),
        false if serving => print(&format!("{}\n", styled(status).green())),
        false => print(&format!("{}\n", styled(status).red())),
    };
    match shown {
        // The exit code is what is asked for, whoever reads the rest.
        Ok(()) | Err(Stop::ReaderLeft) => Ok(serving),
        Err(stop) => Err(stop),
    }
}
