//! `tollgate probe`: asks a sidecar for its health. Supervisors and container health checks use its exit code.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    connection::{AdminArguments, CallError, await_answer, connect},
    error::Stop,
    output::{OutputArguments, print, print_json, styled},
};
use crate::{client::SidecarAddress, exit_code::CommandError};

/// Timeout of the health check. It is short, because probes repeat often and have timeouts of their own.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Arguments of `tollgate probe`.
#[derive(Args, Clone, Debug)]
pub struct ProbeArguments {
    /// Full name of a service, such as tollgate.v1.QuotaService. Without it, the whole listener
    pub service: Option<String>,
    /// Probe this data listener, host:port or unix:/path, instead of the admin listener
    #[arg(long, value_name = "ADDRESS")]
    pub data: Option<SidecarAddress>,
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

#[derive(Serialize)]
struct ProbeJson<'a> {
    address: String,
    service: &'a str,
    status: &'static str,
}

/// Prints the health, and returns whether the listener or service is serving.
pub(super) async fn run(arguments: ProbeArguments) -> Result<bool, Stop> {
    // The health check is open to every client that can connect, so it needs no token.
    let (listener, option) = match arguments.data {
        Some(data) => (arguments.admin.listener_at(data, None)?, "--data"),
        None => (arguments.admin.listener(false)?, "--admin"),
    };
    let service = arguments.service.unwrap_or_default();
    let mut client = HealthClient::new(connect(&listener, option).await?);
    let request = HealthCheckRequest { service: service.clone() };
    let answer = match await_answer(client.check(request), CHECK_TIMEOUT, &listener, option).await {
        Err(CallError::NotFound(CommandError { code, .. })) => {
            let message = format!("the listener at {listener} has no service {}", service.escape_default());
            return Err(CommandError::new(code, message).into());
        }
        other => other?,
    };
    let serving = answer.status() == ServingStatus::Serving;
    let status = answer.status().as_str_name();
    let printed = match arguments.output.json {
        true => print_json(&ProbeJson { address: listener.to_string(), service: &service, status }),
        false if serving => print(&format!("{}\n", styled(status).green())),
        false => print(&format!("{}\n", styled(status).red())),
    };
    match printed {
        // The exit code is the result, even if no program reads stdout.
        Ok(()) | Err(Stop::ReaderLeft) => Ok(serving),
        Err(stop) => Err(stop),
    }
}
