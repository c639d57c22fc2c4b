use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::frames::Frames;
use crate::http::{self, Board, Security};
use crate::judge::{Judge, Work};
use crate::metrics::Metrics;
use crate::outbox::{Exports, Outbox};
use crate::priority::give_way;
use crate::rules::{Load, Rules};
use crate::silence::Silence;
use crate::snapshot::Snapshot;
use crate::state::StateError;
use crate::web_config::{InForce, WebConfigError};
use crate::{daemon, frames, manager};

/// How many frames wait for the judge before no more are read, as far as there is room for their bytes.
const INBOX: usize = 65_536;
/// How long nothing is looked at that only time changes.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where nothing is due: a clock may be set meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long answers under way may take once it is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long it may then take to judge and write down what came in, on a machine that is busy.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What the exporter is started with.
pub struct Options {
    /// Where HTTP is served; at least one.
    pub listen: Vec<SocketAddr>,
    /// How HTTP is secured: a file as the exporter toolkit defines it. It is read by the user that this runs as.
    pub web_config: Option<PathBuf>,
    /// The path of the metrics, `/metrics` by custom.
    pub telemetry_path: String,
    /// Tell a series for each service that listens.
    pub listener_info: bool,
    /// The state folder, prepared with [`crate::prepare_state`].
    pub state: PathBuf,
    /// Where the sensor's frames come from, one a packet.
    pub frames: Frames,
    /// Reads configuration and baseline.
    pub load: Load,
    /// To whom the logs of the state folder go.
    pub exports: Exports,
}

/// Why the exporter ends otherwise than by SIGTERM or SIGINT.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the configuration cannot be used:\n{0}")]
    Config(String),
    #[error("no address to serve HTTP on: name one with --web.listen-address")]
    NoAddress,
    #[error("{address} cannot be listened on: {error}{}", hint(error))]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("the web configuration cannot be used: {0}")]
    WebConfig(#[from] WebConfigError),
    #[error("metrics cannot be served at `{0}`: name a path of its own that begins with `/`")]
    TelemetryPath(String),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("logs cannot be exported: {0}")]
    Export(String),
    #[error("the runtime cannot be started: {0}")]
    Runtime(std::io::Error),
    #[error("the sensor's keeper is gone: no inventory comes any more")]
    SensorGone,
    #[error("the sensor's frames cannot be read: {0}")]
    Frames(std::io::Error),
    #[error("{0} ended: this is a fault of Portledger, please report what stands above it in the log")]
    Fault(&'static str),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program holds the port (`portledger list` or `ss -ltnp` names it): end it, or choose another \
             with --web.listen-address"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "; no interface has this address: choose another with --web.listen-address"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are root's: choose another with --web.listen-address"
        }
        _ => "",
    }
}

/// Judges what the sensor tells and serves it until SIGTERM or SIGINT. SIGHUP reads configuration and baseline again.
pub fn run(options: Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let runtime = runtime.map_err(Error::Runtime)?;
    let ended = runtime.block_on(serve(options));
    runtime.shutdown_timeout(FAREWELL);
    ended
}

async fn serve(options: Options) -> Result<(), Error> {
    if options.listen.is_empty() {
        return Err(Error::NoAddress);
    }
    let mut signals = Signals::catch().map_err(Error::Runtime)?;
    let web_config = options.web_config.as_deref().map(InForce::read).transpose()?.map(Arc::new);
    let listeners = http::bind(&options.listen).await?;
    let rules = Rules::read(options.load, options.state.clone(), SystemTime::now()).map_err(Error::Config)?;
    let (judge, snapshots) = Judge::new(rules, options.state.clone()).map_err(Error::Runtime)?;
    let outbox = Outbox::start(options.exports, &options.state);
    let outbox = outbox.map_err(|error| Error::Export(error.to_string()))?;
    let metrics = Metrics::new(snapshots.clone(), options.listener_info, SystemTime::now)?
        .with_exports(outbox.statuses())?
        .with_web_config(web_config.as_ref())?;
    let security = Arc::new(Security::new(web_config));
    let telemetry_path = options.telemetry_path;
    let told = snapshots.clone();
    let router = http::router(Board { snapshots, metrics, telemetry_path })?;
    daemon::announce(&options.state)?;
    let scheme = if security.has_tls() { "https" } else { "http" };
    let served = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let served: Vec<String> = served.map(|address| format!("{scheme}://{address}/")).collect();
    served.iter().for_each(|address| info!("serving on {address}"));
    let (inbox, work) = mpsc::channel(INBOX);
    let mut judge_gone = start(judge, work)?;
    let frames_ended = frames::forward_from(options.frames, inbox.clone()).map_err(Error::Frames)?;
    manager::tell_ready(format!("serving on {}", served.join(", "))).await;
    let ended = tokio::select! {
        () = http::serve(listeners, router, security) => Err(Error::Fault("accepting connections")),
        ended = frames_ended => match ended {
            Ok(Err(error)) => Err(Error::Frames(error)),
            Ok(Ok(())) | Err(_) => Err(Error::SensorGone),
        },
        _ = &mut judge_gone => Err(Error::Fault("judging")),
        () = tick(inbox.clone(), told, Silence::new(Instant::now())) => Err(Error::Fault("judging")),
        () = manager::keep_alive() => Err(Error::Fault("telling the service manager")),
        () = signals.reload_until_told_to_end(inbox.clone()) => Ok(()),
    };
    manager::tell_end().await;
    if tokio::time::timeout(LAST_WORDS, finish(inbox, judge_gone)).await.is_err() {
        warn!("what came in during the last moments may not be written down: the disk is slow");
    }
    ended
}

/// Waits until the judge has written down what it knows.
async fn finish(judge: mpsc::Sender<Work>, gone: oneshot::Receiver<()>) {
    if judge.send(Work::End).await.is_ok() {
        // It ends by being dropped, whether it sent something or not.
        gone.await.unwrap_or_default();
    }
}

/// Looks whether the sensor is silent, and has the judge look whether time has changed something, unless it is busy: when
/// it has, and at most once a second. Returns when the judge is gone.
async fn tick(judge: mpsc::Sender<Work>, mut snapshots: watch::Receiver<Snapshot>, mut silence: Silence) {
    loop {
        let left = {
            let snapshot = snapshots.borrow_and_update();
            silence.watch(snapshot.sensor.last_frame, Instant::now());
            snapshot.judged.as_ref().map_or(LONGEST_PAUSE, |pass| pass.due_in(SystemTime::now()))
        };
        if left.is_zero()
            && let Err(mpsc::error::TrySendError::Closed(_)) = judge.try_send(Work::Tick)
        {
            return;
        }
        let pause = left.clamp(PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(PAUSE).await;
        // What is published meanwhile may be due earlier.
        tokio::select! {
            () = tokio::time::sleep(pause - PAUSE) => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// The receiver resolves when the thread ends, however it does.
fn start(judge: Judge, work: mpsc::Receiver<Work>) -> Result<oneshot::Receiver<()>, Error> {
    let (alive, gone) = oneshot::channel();
    let thread = std::thread::Builder::new().name("judge".to_owned()).spawn(move || {
        let _alive: oneshot::Sender<()> = alive;
        give_way();
        judge.work(work);
    });
    thread.map_err(Error::Runtime)?;
    Ok(gone)
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Signals {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// A judge that is busy keeps nobody from ending.
    async fn reload_until_told_to_end(&mut self, judge: mpsc::Sender<Work>) {
        let mut wanted = false;
        loop {
            tokio::select! {
                _ = self.reload.recv() => wanted = true,
                Ok(place) = judge.reserve(), if wanted => {
                    place.send(Work::Reload);
                    wanted = false;
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}
