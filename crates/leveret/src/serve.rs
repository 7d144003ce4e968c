//! `leveret serve`: the broker from start to a clean stop.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use leveret_management::{Logs, Management};
use leveret_server::{Server, StartError};

use crate::failure::Failure;
use crate::settings::{Flags, Settings};
use crate::stop::StopRequests;
use crate::{data_dir, log, management};

/// Runs the broker until it is asked to stop.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let settings = Settings::load(flags)?;
    let logs = log::start(settings.log.clone());
    let descriptors = leveret_server::raise_descriptor_limit();
    tracing::debug!(descriptors, "limit on open files");
    if let Some(dir) = &settings.server.data_dir {
        data_dir::prepare(dir, "--data-dir")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    runtime.block_on(serve(settings, logs))
}

async fn serve(settings: Settings, logs: Arc<Logs>) -> Result<(), Failure> {
    let mut stop = StopRequests::listen()
        .map_err(|error| Failure::run(format!("cannot listen for signals: {error}")))?;
    let amqps = settings.server.amqps.clone();
    let keeps_nothing = settings.server.data_dir.is_none();
    let wanted = settings.management_is_wanted();
    let server = Server::start(settings.server).await.map_err(|error| start_failure(&error, &amqps))?;
    let management = management::start(&settings.management, wanted, &server, logs).await?;
    announce(&server, management.as_ref());
    if keeps_nothing {
        tracing::warn!("no data folder: everything is gone when the broker stops; see --data-dir");
    }
    stop.next().await;
    // What it holds on to must go before the store is closed.
    drop(management);
    tracing::info!("stopping: clients are told, and given a moment to close");
    tokio::select! {
        () = server.shutdown() => Ok(()),
        () = stop.next() => Err(Failure::run("stopped at once, as asked a second time")),
    }
}

/// Names the addresses on stdout. Whoever closed stdout does not want to know.
fn announce(server: &Server, management: Option<&Management>) {
    let mut stdout = std::io::stdout().lock();
    if let Some(address) = server.amqp_addr() {
        let _ = writeln!(stdout, "listening on {address}");
    }
    if let Some(address) = server.amqps_addr() {
        let _ = writeln!(stdout, "listening on {address} (TLS)");
    }
    if let Some(management) = management {
        let _ = writeln!(stdout, "management on http://{}", management.address());
    }
    let _ = stdout.flush();
    tracing::info!("leveret {} is ready", env!("CARGO_PKG_VERSION"));
}

/// What went wrong at the start, and what to do about it.
pub(crate) fn start_failure(error: &StartError, amqps: &str) -> Failure {
    match error {
        StartError::Setting(_) => Failure::usage(error.to_string()),
        StartError::Data(_) | StartError::Thread(_) => Failure::run(error.to_string()),
        StartError::Tls(_) => Failure::run(format!("{error}; see --tls-cert, --tls-key and --tls-client-ca")),
        StartError::Listen { address, source } => {
            let flag = if address == amqps { "--amqps" } else { "--amqp" };
            Failure::run(format!("cannot listen on {address}: {}", listen_advice(source, flag)))
        }
    }
}

/// What to do where an address cannot be listened on that `flag` chooses.
pub(crate) fn listen_advice(error: &std::io::Error, flag: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "the port is in use; stop the program that has it, or choose another port with {flag} HOST:PORT \
             (port 0 picks a free one)"
        ),
        ErrorKind::PermissionDenied => {
            format!("this user may not use the port; choose one above 1023 with {flag} HOST:PORT")
        }
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no such address; 0.0.0.0 means all it has, 127.0.0.1 itself only ({flag} HOST:PORT)"
        ),
        _ => format!("{error} ({flag} HOST:PORT)"),
    }
}
