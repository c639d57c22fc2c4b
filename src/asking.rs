//! The running daemon, asked over the socket of its local API.

pub(crate) mod answers;

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::asking::answers::{Details, Listeners, SCHEMA, Status};
use crate::page::shown;

/// How often it is tried again to connect where the daemon has no room for one more who waits.
const PAUSE: Duration = Duration::from_millis(50);
/// What the daemon writes is far below a kilobyte or two.
const MAX_STATUS: usize = 64 << 10;
/// Ten thousand drifts, the most that the daemon tells, are some ten megabytes.
const MAX_DETAILS: usize = 16 << 20;
/// Of a listener with one holder some two kilobytes.
const MAX_LISTENERS: usize = 64 << 20;
const LOG: &str = "Look at its log: `journalctl -u portledger`.";

/// What came of asking.
pub(crate) struct Asked {
    pub(crate) status: Result<Status, Failure>,
    /// Each drift and each gap; `None` where the status says that there is none, or could not be had.
    pub(crate) details: Option<Result<Details, Failure>>,
    /// Where they are wanted, and the status could be had.
    pub(crate) listeners: Option<Result<Listeners, Failure>>,
    /// What does not pass these was left out.
    pub(crate) filters: Vec<String>,
    /// Of how many that are counted nobody can say whether they pass.
    pub(crate) unfiltered: u64,
    /// Looked for in this process.
    pub(crate) looked: Option<Looked>,
    /// What was asked, for whoever wants to know it all.
    pub(crate) trace: Vec<String>,
}

/// What one look cannot tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Why it is not known which drift is gone.
    pub(crate) gone_unknown: Option<String>,
}

/// Why there is no answer, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) next: &'static str,
}

impl Asked {
    /// Nothing could be had.
    pub(crate) fn nothing(failure: Failure) -> Self {
        Asked {
            status: Err(failure),
            details: None,
            listeners: None,
            filters: Vec::new(),
            unfiltered: 0,
            looked: None,
            trace: Vec::new(),
        }
    }

    pub(crate) fn listed(&self) -> Option<&Listeners> {
        self.listeners.as_ref()?.as_ref().ok()
    }

    pub(crate) fn told(&self) -> Option<&Details> {
        self.details.as_ref()?.as_ref().ok()
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        let of_details = || self.details.as_ref()?.as_ref().err();
        let of_listeners = || self.listeners.as_ref()?.as_ref().err();
        self.status.as_ref().err().or_else(of_details).or_else(of_listeners)
    }
}

/// Asks the daemon that listens at `socket` for one document.
pub(crate) fn ask_for<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    patience: Duration,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut asking = Asking::new(socket, patience);
    let answer = runtime.block_on(asking.ask(path, MAX_DETAILS));
    answer.map_err(|failure| anyhow::anyhow!("{}: {}", failure.what, failure.next))
}

/// Asks the daemon that listens at `socket`, for no longer than `patience` in all.
pub(crate) fn ask(socket: &Path, patience: Duration, wants_listeners: bool) -> Asked {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ask_all(socket, patience, wants_listeners)),
        Err(error) => {
            let what = format!("nothing can be asked: {error}");
            Asked::nothing(Failure { what, next: "See what this user may still open." })
        }
    }
}

pub(crate) async fn ask_all(socket: &Path, patience: Duration, wants_listeners: bool) -> Asked {
    let mut asking = Asking::new(socket, patience);
    let status = asking.ask("/api/v1/status", MAX_STATUS).await;
    let status = status.and_then(|status: Status| match status.schema {
        SCHEMA => Ok(status),
        other => Err(of_other_schema(socket, other)),
    });
    let details = match &status {
        Ok(status) if status.has_details() => {
            let details = asking.ask("/api/v1/drift", MAX_DETAILS).await;
            Some(details.and_then(|details: Details| match details.schema {
                SCHEMA => Ok(details),
                other => Err(of_other_schema(socket, other)),
            }))
        }
        _ => None,
    };
    let listeners = match &status {
        // Before the first look of the sensor there is no answer.
        Ok(status) if wants_listeners && status.coverage.is_some() => {
            let listeners = asking.ask("/api/v1/listeners", MAX_LISTENERS).await;
            Some(listeners.and_then(|listeners: Listeners| match listeners.schema {
                SCHEMA => Ok(listeners),
                other => Err(of_other_schema(socket, other)),
            }))
        }
        _ => None,
    };
    Asked {
        status,
        details,
        listeners,
        filters: Vec::new(),
        unfiltered: 0,
        looked: None,
        trace: asking.trace,
    }
}

impl Status {
    fn has_details(&self) -> bool {
        let counts = [self.drifts.critical, self.drifts.warning, self.drifts.info];
        // Before the first look of the sensor there is no answer.
        self.coverage
            .as_ref()
            .is_some_and(|coverage| coverage.gaps > 0 || counts.iter().any(|count| count.open > 0))
    }
}

/// Questions that share one deadline.
struct Asking<'a> {
    socket: &'a Path,
    patience: Duration,
    deadline: Instant,
    trace: Vec<String>,
}

impl<'a> Asking<'a> {
    fn new(socket: &'a Path, patience: Duration) -> Self {
        Asking { socket, patience, deadline: Instant::now() + patience, trace: Vec::new() }
    }

    async fn ask<T: DeserializeOwned>(&mut self, path: &str, max: usize) -> Result<T, Failure> {
        let socket = self.socket;
        let began = Instant::now();
        let answer = timeout_at(self.deadline, answer(socket, path, max)).await;
        let answer = answer.unwrap_or(Err(Trouble::Silent(self.patience)));
        let took = began.elapsed().as_millis();
        let length = answer.as_ref().map_or("no answer".to_owned(), |bytes| format!("{} bytes", bytes.len()));
        self.trace.push(format!("asked      {} {path}: {length} in {took} ms", named(socket)));
        let bytes = answer.map_err(|trouble| trouble.told(socket, path))?;
        serde_json::from_slice(&bytes).map_err(|error| Failure {
            what: format!("{}: the answer to {path} is not understood: {}", named(socket), shown(&error.to_string())),
            next: "See whether `portledger serve` listens there, and restart it after an update: both must be of one version.",
        })
    }
}

async fn answer(socket: &Path, path: &str, max: usize) -> Result<Bytes, Trouble> {
    let stream = connect(socket).await.map_err(Trouble::Connecting)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How it ends is told by what was asked over it.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Trouble::Broken(error.to_string()))?;
    let response = sender.send_request(request).await?;
    body(response, max).await
}

/// A daemon has room for some who wait; of a Unix socket one more is not kept waiting, but turned away.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            other => return other,
        }
    }
}

async fn body(response: Response<Incoming>, max: usize) -> Result<Bytes, Trouble> {
    if response.status() != StatusCode::OK {
        return Err(Trouble::Status(response.status()));
    }
    match Limited::new(response.into_body(), max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Trouble::TooLarge(max)),
        Err(error) => Err(Trouble::Broken(error.to_string())),
    }
}

enum Trouble {
    Connecting(io::Error),
    Silent(Duration),
    Status(StatusCode),
    TooLarge(usize),
    Broken(String),
}

impl From<hyper::Error> for Trouble {
    fn from(error: hyper::Error) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Trouble::Broken(format!("{error}{cause}"))
    }
}

impl Trouble {
    fn told(self, socket: &Path, path: &str) -> Failure {
        let (what, next) = match self {
            Trouble::Connecting(error) => of_connecting(&error),
            Trouble::Silent(patience) => (
                format!("no answer to {path} within {} s", patience.as_secs()),
                "The daemon hangs or is too busy. Look at its log, `journalctl -u portledger`, or restart it.",
            ),
            Trouble::Status(StatusCode::NOT_FOUND) => (
                format!("whoever listens there does not know {path}"),
                "See whether it is `portledger serve`, and restart it after an update: both must be of one version.",
            ),
            Trouble::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => (
                format!("it does not let this user read {path}"),
                "Name the socket of the local API (`api_socket` in portledger.toml): it asks for no password.",
            ),
            Trouble::Status(status) => (format!("{path} was answered with {}", status.as_u16()), LOG),
            Trouble::TooLarge(max) => (
                format!("the answer to {path} is larger than {} KiB, and was not read", max >> 10),
                "See whether `portledger serve` listens there, and `sudo portledger diff` for what drifts.",
            ),
            Trouble::Broken(why) => (format!("{path} was not answered: {}", shown(&why)), LOG),
        };
        Failure { what: format!("{}: {what}", named(socket)), next }
    }
}

fn of_connecting(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => (
            "no socket is there".to_owned(),
            "`portledger serve` does not run, or has no local API: see `systemctl status portledger` and `api_socket` in \
             portledger.toml, or name another socket with --socket.",
        ),
        io::ErrorKind::ConnectionRefused => (
            "nobody listens there".to_owned(),
            "`portledger serve` has ended: see `systemctl status portledger`, and start it.",
        ),
        io::ErrorKind::PermissionDenied => (
            "this user may not connect".to_owned(),
            "Name the socket of the local API (`api_socket` in portledger.toml), which is open to all users, with --socket.",
        ),
        _ => (
            format!("cannot connect: {}", shown(&error.to_string())),
            "Name the socket of the local API (`api_socket` in portledger.toml) with --socket.",
        ),
    }
}

fn of_other_schema(socket: &Path, schema: u32) -> Failure {
    Failure {
        what: format!("{}: the answer is of schema {schema}, and only {SCHEMA} is understood", named(socket)),
        next: "Update `portledger`, or restart `portledger serve` after an update: both must be of one version.",
    }
}

fn named(socket: &Path) -> String {
    shown(&socket.to_string_lossy())
}
