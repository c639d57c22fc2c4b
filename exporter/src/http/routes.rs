use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::watch;
use tracing::error;

use super::roles::Right;
use super::{drift_page, landing, runbooks};
use crate::Error;
use crate::alerting::Told;
use crate::document::status_document;
use crate::metrics::{Metrics, TEXT_FORMAT};
use crate::silence::PATIENCE;
use crate::snapshot::{JudgedPass, Snapshot};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TAKEN: [&str; 7] =
    ["/", "/-/healthy", "/-/ready", "/api/v1/listeners", "/api/v1/drift", "/api/v1/status", "/api/v1/alerts"];

/// Each open drift has a page below it.
const DRIFT: &str = "/drift/";
/// And each alert has one that says what to do, which tells nothing of this host.
const RUNBOOKS: &str = "/runbooks/";

/// How much of the inventory an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Whole,
    NoCommandLines,
}

/// What it takes to read a path; `None` for those that there are not.
pub(super) fn right_to(path: &str, telemetry_path: &str) -> Option<Right> {
    match path {
        path if path == telemetry_path => Some(Right::Metrics),
        "/api/v1/drift" | "/api/v1/status" | "/api/v1/alerts" => Some(Right::Drift),
        path if path.starts_with(DRIFT) => Some(Right::Drift),
        "/" | "/api/v1/listeners" => Some(Right::Inventory),
        "/-/healthy" | "/-/ready" => Some(Right::Health),
        path if path.starts_with(RUNBOOKS) => Some(Right::Health),
        _ => None,
    }
}

/// What answers are made of.
pub(crate) struct Board {
    pub(crate) snapshots: watch::Receiver<Snapshot>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) telemetry_path: String,
    pub(crate) alerting: Arc<Told>,
}

/// GET and HEAD of the known paths; 404 and 405 for the rest.
pub(crate) fn router(board: Board) -> Result<Router, Error> {
    let path = board.telemetry_path.clone();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/-_.".contains(character);
    if !path.starts_with('/') || !path.chars().all(plain) || is_taken(&path) {
        return Err(Error::TelemetryPath(path));
    }
    Ok(Router::new()
        .route(&path, get(scrape))
        .route("/", get(front))
        .route("/drift/{id}", get(of_drift))
        .route("/runbooks/{name}", get(runbook))
        .route("/-/healthy", get(async || text(StatusCode::OK, "healthy")))
        .route("/-/ready", get(ready))
        .route("/api/v1/listeners", get(listeners))
        .route("/api/v1/drift", get(drift))
        .route("/api/v1/status", get(status))
        .route("/api/v1/alerts", get(alerts))
        .with_state(Arc::new(board)))
}

fn is_taken(path: &str) -> bool {
    TAKEN.contains(&path) || path.starts_with(DRIFT) || path.starts_with(RUNBOOKS)
}

type Shared = State<Arc<Board>>;

async fn scrape(State(board): Shared) -> Response {
    match tokio::task::spawn_blocking(move || board.metrics.render()).await {
        Ok(Ok(metrics)) => respond(StatusCode::OK, TEXT_FORMAT, metrics.into()),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn front(State(board): Shared) -> Response {
    let snapshot = board.snapshots.borrow().clone();
    respond(StatusCode::OK, HTML, landing::page(&snapshot, &board.telemetry_path).into())
}

async fn of_drift(State(board): Shared, Path(id): Path<String>) -> Response {
    let snapshot = board.snapshots.borrow().clone();
    let over = board.alerting.over(&id);
    let page = move || match (drift_page::page(&snapshot.register, &snapshot.sender, &id), over) {
        (Some(page), _) => (StatusCode::OK, page),
        (None, Some(over)) => (StatusCode::OK, drift_page::over(&over)),
        (None, None) => (StatusCode::NOT_FOUND, drift_page::none(&snapshot.sender, &id)),
    };
    match tokio::task::spawn_blocking(page).await {
        Ok((status, page)) => respond(status, HTML, page.into()),
        Err(error) => failed(&error),
    }
}

async fn runbook(Path(name): Path<String>) -> Response {
    match runbooks::runbook(&name) {
        Some(runbook) => respond(StatusCode::OK, TEXT, runbook.into()),
        None => text(StatusCode::NOT_FOUND, "no alert has this name"),
    }
}

async fn ready(State(board): Shared) -> Response {
    match unready(&board.snapshots.borrow(), SystemTime::now()) {
        None => text(StatusCode::OK, "ready"),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// Why what is told may not be what is.
fn unready(snapshot: &Snapshot, now: SystemTime) -> Option<String> {
    if snapshot.judged.is_none() {
        return Some("no inventory of the sensor was judged yet".to_owned());
    }
    let last = snapshot.sensor.last_frame?;
    // A clock that was set back makes the frame come from the future: it came, then.
    let silent = now.duration_since(last).unwrap_or_default();
    if silent > PATIENCE {
        let silent = silent.as_secs();
        return Some(format!(
            "the sensor was last heard of {silent} s ago: see the log of `portledger serve`"
        ));
    }
    // Of what a silent sensor saw meanwhile there is nothing to judge.
    let behind = snapshot.sensor.lag(now).saturating_sub(silent);
    (behind > PATIENCE).then(|| {
        format!(
            "nothing that happened in the last {} s is judged yet: more opens and closes than there is time for, or no \
             processor for `portledger serve`",
            behind.as_secs()
        )
    })
}

async fn listeners(State(board): Shared, Extension(detail): Extension<Detail>) -> Response {
    let write = match detail {
        Detail::Whole => JudgedPass::listeners_json,
        Detail::NoCommandLines => JudgedPass::listeners_json_without_command_lines,
    };
    document(&board, write).await
}

async fn drift(State(board): Shared) -> Response {
    document(&board, JudgedPass::drift_json).await
}

async fn status(State(board): Shared) -> Response {
    let snapshot = board.snapshots.borrow().clone();
    // It counts every open drift.
    let written = tokio::task::spawn_blocking(move || {
        let now = SystemTime::now();
        serde_json::to_vec(&status_document(&snapshot, unready(&snapshot, now), now))
    });
    match written.await {
        Ok(Ok(json)) => respond(StatusCode::OK, JSON, json.into()),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn alerts(State(board): Shared) -> Response {
    match serde_json::to_vec(&board.alerting.document()) {
        Ok(json) => respond(StatusCode::OK, JSON, json.into()),
        Err(error) => failed(&error),
    }
}

async fn document(board: &Board, write: fn(&JudgedPass) -> Result<Arc<[u8]>, String>) -> Response {
    let Some(pass) = board.snapshots.borrow().judged.clone() else {
        let body = r#"{"schema":1,"error":"no inventory of the sensor was judged yet"}"#;
        return respond(StatusCode::SERVICE_UNAVAILABLE, JSON, body.into());
    };
    match tokio::task::spawn_blocking(move || write(&pass)).await {
        Ok(Ok(json)) => respond(StatusCode::OK, JSON, Bytes::from_owner(json).into()),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// The client learns that it failed, the log learns why.
fn failed(error: &dyn std::fmt::Display) -> Response {
    error!("an answer could not be written: {error}");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written, the log says why")
}

fn text(status: StatusCode, line: &str) -> Response {
    respond(status, TEXT, format!("{line}\n").into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
