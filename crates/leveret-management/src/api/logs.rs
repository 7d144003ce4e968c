//! The newest lines of the log.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tracing::Level;

use super::{Route, get};
use crate::App;
use crate::access::Access;
use crate::error::Refusal;
use crate::logs::LogLine;
use crate::parameters::Parameters;

/// Lines shown where nothing else is asked for.
const USUAL: usize = 200;

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/logs", "The newest lines of the log; level=error, warn, info or debug, limit=200", show)]
}

async fn show(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    access.monitor()?;
    let level = parameters.text("level").unwrap_or("info");
    let level: Level = level.parse().map_err(|_| {
        Refusal::bad(format!("level: expected error, warn, info, debug or trace, found {level}"))
    })?;
    let most = parameters.text("limit").map_or(Ok(USUAL), |limit| {
        limit.parse().map_err(|_| Refusal::bad(format!("limit: expected a number of lines, found {limit}")))
    })?;
    Ok(Json(app.node.logs().newest(level, most).iter().map(line).collect()))
}

fn line(line: &LogLine) -> Value {
    json!({
        "id": line.id,
        "timestamp": line.at_ms,
        "level": line.level.as_str().to_lowercase(),
        "target": line.target,
        "message": line.message,
    })
}
