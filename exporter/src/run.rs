use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::alerting::{Alerting, Posting};
use crate::exposure::Exposure;
use crate::frames::Frames;
use crate::http::{self, Board, Door, House, HttpCounts, Inherited, ListenAddress, Role, Seats, Security};
use crate::judge::{Judge, Work};
use crate::metrics::Metrics;
use crate::outbox::{Exports, Outbox};
use crate::priority::give_way;
use crate::rules::{Load, Rules};
use crate::runtime_folder::default_api_socket;
use crate::silence::Silence;
use crate::snapshot::Snapshot;
use crate::state::StateError;
use crate::textfile::{TextFile, TextFileStatus};
use crate::web_config::{InForce, WebConfigError};
use crate::{confined, daemon, frames, manager};

/// How many frames wait for the judge before no more are read, as far as there is room for their bytes.
const INBOX: usize = 65_536;
/// How long nothing is looked at that only time changes.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where nothing is due: a clock may be set meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long answers under way may take once it is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// The keeper may hear before us that all is to end.
const SAME_MOMENT: Duration = Duration::from_millis(500);
/// How long it may then take to judge and write down what came in, on a machine that is busy.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What the exporter is started with.
pub struct Options {
    /// Where and to whom HTTP is served.
    pub web: Web,
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
    /// Who tells people of drift.
    pub alerting: Alerting,
}

/// Where and to whom HTTP is served.
pub struct Web {
    /// Where; at least one address or one inherited socket, unless metrics are written into a file.
    pub listen: Vec<ListenAddress>,
    /// Sockets that systemd opened.
    pub inherited: Vec<Inherited>,
    /// How it is secured: a file as the exporter toolkit defines it. It is read by the user that this runs as.
    pub config: Option<PathBuf>,
    /// The path of the metrics, `/metrics` by custom.
    pub telemetry_path: String,
    /// By which address others reach it, without a `/` at its end, for links in what is told; empty where nobody said.
    pub external_url: String,
    /// Networks that peers may be in; any where there is none. An IPv4 address is looked for among IPv4 networks alone.
    pub allow: Vec<IpNet>,
    /// Refuse whatever could change something.
    pub read_only: bool,
    /// What may be read by whom; everything by everybody where there is none.
    pub roles: Vec<Role>,
    /// Where users of this host ask.
    pub api_socket: ApiSocket,
    /// The folder that metrics are written into for node_exporter.
    pub textfile: Option<PathBuf>,
}

impl Web {
    /// Folders in which sockets are made, or the file of metrics.
    pub fn writes(&self) -> Vec<PathBuf> {
        let parent = |path: &Path| path.parent().map(Path::to_owned);
        let sockets = self.listen.iter().filter_map(|address| match address {
            ListenAddress::Unix(path) => parent(path),
            ListenAddress::Tcp(_) => None,
        });
        let api = match &self.api_socket {
            ApiSocket::Off => None,
            ApiSocket::Usual => default_api_socket().and_then(|path| parent(&path)),
            ApiSocket::At(path) => parent(path),
        };
        sockets.chain(api).chain(self.textfile.clone()).collect()
    }

    /// TCP ports that are listened on; 0 is one that the kernel chooses.
    pub fn ports(&self) -> Vec<u16> {
        let port = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        };
        self.listen.iter().filter_map(port).collect()
    }
}

/// Where users of this host ask: root and the exporter's user are told all, others all but command lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApiSocket {
    /// `/run/portledger/api.sock`, where that folder is the exporter's.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// Here.
    At(PathBuf),
}

/// Why the exporter ends otherwise than by SIGTERM or SIGINT.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the configuration cannot be used:\n{0}")]
    Config(String),
    #[error(
        "nothing to serve HTTP on: name an address with --web.listen-address, or a folder with --textfile"
    )]
    NoAddress,
    #[error("{address} cannot be listened on: {error}{}", hint(address, error))]
    Listen { address: ListenAddress, error: std::io::Error },
    #[error("the web configuration cannot be used")]
    WebConfig(#[from] WebConfigError),
    #[error(
        "{0} is no folder that metrics could be written into: create it, or name another with --textfile"
    )]
    NoTextFile(PathBuf),
    #[error("a socket of systemd cannot be used: {0}")]
    Inherited(std::io::Error),
    #[error("metrics cannot be served at `{0}`: name a path of its own that begins with `/`")]
    TelemetryPath(String),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("logs cannot be exported: {0}")]
    Export(String),
    #[error("the exporter cannot be confined: {0}")]
    Confine(#[from] confine::ConfineError),
    #[error("the runtime cannot be started: {0}")]
    Runtime(std::io::Error),
    #[error("the sensor's keeper is gone: no inventory comes any more")]
    SensorGone,
    #[error("the sensor's frames cannot be read: {0}")]
    Frames(std::io::Error),
    #[error("{0} ended: this is a fault of Portledger, please report what stands above it in the log")]
    Fault(&'static str),
}

fn hint(address: &ListenAddress, error: &std::io::Error) -> &'static str {
    match (error.kind(), address) {
        (std::io::ErrorKind::AddrInUse, ListenAddress::Unix(_)) => {
            "; another program serves there: end it, or choose another path with --web.listen-address"
        }
        (std::io::ErrorKind::PermissionDenied, ListenAddress::Unix(_)) => {
            "; the folder must be writable for the user that `serve` runs as: RuntimeDirectory= of a unit makes one"
        }
        (std::io::ErrorKind::AddrInUse, _) => {
            "; another program holds the port (`portledger list` or `ss -ltnp` names it): end it, or choose another \
             with --web.listen-address"
        }
        (std::io::ErrorKind::AddrNotAvailable, _) => {
            "; no interface has this address: choose another with --web.listen-address"
        }
        (std::io::ErrorKind::PermissionDenied, _) => {
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
    let mut signals = Signals::catch().map_err(Error::Runtime)?;
    let web = options.web;
    if let Some(folder) = web.textfile.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Error::NoTextFile(folder.clone()));
    }
    let web_config = web.config.as_deref().map(InForce::read).transpose()?.map(Arc::new);
    let mut doors = open(&web.listen, web.inherited).await?;
    if doors.is_empty() && web.textfile.is_none() && !matches!(web.api_socket, ApiSocket::At(_)) {
        return Err(Error::NoAddress);
    }
    let speaks = !doors.is_empty();
    doors.extend(open_api(web.api_socket, speaks)?);
    confined::open_no_more_doors()?;
    let rules = Rules::read(options.load, options.state.clone(), SystemTime::now()).map_err(Error::Config)?;
    let (judge, snapshots) =
        Judge::new(rules, options.state.clone(), web.external_url.clone()).map_err(Error::Runtime)?;
    let posting = Posting::start(&options.alerting, judge.turns(), &options.state, &web.external_url)
        .map_err(Error::Runtime)?;
    let outbox = Outbox::start(options.exports, &options.state);
    let outbox = outbox.map_err(|error| Error::Export(error.to_string()))?;
    let (seats, counts) = (Seats::new(), Arc::new(HttpCounts::default()));
    let served: Vec<SocketAddr> = doors.iter().filter_map(Door::address).collect();
    let metrics = Metrics::new(snapshots.clone(), options.listener_info, SystemTime::now)?
        .with_exports(outbox.statuses())?
        .with_alerting(posting.told())?
        .with_http(counts.clone(), seats.clone())?
        .with_web_config(web_config.as_ref())?;
    let security = Arc::new(Security::new(web_config));
    let metrics = metrics.with_listeners(served.clone(), security.clone(), snapshots.clone())?;
    warn_of(&served, &security);
    let status = Arc::new(TextFileStatus::default());
    let metrics = if web.textfile.is_some() { metrics.with_text_file(status.clone())? } else { metrics };
    let metrics = Arc::new(metrics);
    let file = web.textfile.map(|folder| TextFile::new(folder, metrics.clone(), status));
    let telemetry_path = web.telemetry_path.clone();
    let (told, written) = (snapshots.clone(), snapshots.clone());
    let router = http::router(Board { snapshots, metrics, telemetry_path, alerting: posting.told() })?;
    let has_tls = security.has_tls();
    let served: Vec<String> = doors.iter().map(|door| door.named(has_tls)).collect();
    served.iter().for_each(|address| info!("serving on {address}"));
    let (inbox, work) = mpsc::channel(INBOX);
    announce(&options.state, inbox.clone())?;
    let rules = http::Rules {
        allow: web.allow,
        read_only: web.read_only,
        roles: web.roles,
        telemetry_path: web.telemetry_path,
    };
    let house = Arc::new(House::new(router, rules, security, (seats, counts), inbox.clone()));
    let mut judge_gone = start(judge, work)?;
    let frames_ended = frames::forward_from(options.frames, inbox.clone()).map_err(Error::Frames)?;
    manager::tell_ready(format!("serving on {}", served.join(", "))).await;
    let ended = tokio::select! {
        () = keep(file, written) => Err(Error::Fault("writing the file of metrics")),
        () = house.clone().serve(doors) => Err(Error::Fault("accepting connections")),
        ended = frames_ended => match ended {
            Ok(Err(error)) => Err(Error::Frames(error)),
            Ok(Ok(())) | Err(_) => Err(Error::SensorGone),
        },
        _ = &mut judge_gone => Err(Error::Fault("judging")),
        () = tick(inbox.clone(), told, Silence::new(Instant::now())) => Err(Error::Fault("judging")),
        () = manager::keep_alive() => Err(Error::Fault("telling the service manager")),
        () = signals.reload_until_told_to_end(inbox.clone(), || house.warn_of_roles()) => Ok(()),
    };
    let ended = match ended {
        Err(Error::SensorGone) if signals.tell_to_end_within(SAME_MOMENT).await => Ok(()),
        ended => ended,
    };
    manager::tell_end().await;
    let last_words = async {
        house.close().await;
        finish(inbox, judge_gone).await;
    };
    if tokio::time::timeout(LAST_WORDS, last_words).await.is_err() {
        warn!("what came in during the last moments may not be written down: the disk is slow");
    }
    ended
}

/// Tells the verbs of root who serves. A full disk is no reason to leave a host unwatched: it is tried again until there is
/// room.
fn announce(folder: &Path, inbox: mpsc::Sender<Work>) -> Result<(), StateError> {
    let is_full = |error: &StateError| match error {
        StateError::Io { error, .. } => {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        _ => false,
    };
    match daemon::announce(folder) {
        Err(error) if is_full(&error) => {
            warn!("`approve` and others cannot tell this process to read again until there is room: {error}");
        }
        done => return done,
    }
    let folder = folder.to_owned();
    tokio::spawn(async move {
        while daemon::announce(&folder).is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        // What people did meanwhile was told to nobody. That the judge is gone is told elsewhere.
        drop(inbox.send(Work::Reload).await);
    });
    Ok(())
}

/// What systemd opened comes in place of addresses.
async fn open(listen: &[ListenAddress], inherited: Vec<Inherited>) -> Result<Vec<Door>, Error> {
    let doors = http::adopt(inherited).map_err(Error::Inherited)?;
    if doors.is_empty() { http::bind(listen).await } else { Ok(doors) }
}

/// The usual place is a convenience: without it `serve` is what it is. Who asked for no port is given no socket either.
fn open_api(socket: ApiSocket, speaks: bool) -> Result<Option<Door>, Error> {
    match socket {
        ApiSocket::Off => Ok(None),
        ApiSocket::At(path) => {
            let opened = Door::local_api(&path);
            opened.map(Some).map_err(|error| Error::Listen { address: ListenAddress::Unix(path), error })
        }
        ApiSocket::Usual => {
            let Some(path) = default_api_socket().filter(|_| speaks) else { return Ok(None) };
            let opened = Door::local_api(&path);
            let opened = opened.inspect_err(|error| {
                warn!("users of this host cannot ask at {}: {error}", path.display());
            });
            Ok(opened.ok())
        }
    }
}

/// Whoever reaches it reads what an attacker would like to read first.
fn warn_of(served: &[SocketAddr], security: &Security) {
    if security.is_closed() {
        return;
    }
    for endpoint in served.iter().filter(|endpoint| Exposure::of(**endpoint, 0, None).beyond_loopback) {
        warn!(
            "{endpoint} is open to other hosts without TLS and authentication: give it --web.config.file, serve on \
             loopback, or put something before it that authenticates"
        );
    }
}

/// Writes the file of metrics, where one is wanted.
async fn keep(file: Option<TextFile>, snapshots: watch::Receiver<Snapshot>) {
    match file {
        Some(file) => file.keep(snapshots).await,
        None => std::future::pending().await,
    }
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
        let (left, silent) = {
            let snapshot = snapshots.borrow_and_update();
            let silent = silence.watch(snapshot.sensor.last_frame, Instant::now());
            let left = snapshot.judged.as_ref().map_or(LONGEST_PAUSE, |pass| pass.due_in(SystemTime::now()));
            (left, silent)
        };
        // Once it is silent it gives the judge nothing to be busy with for long.
        if let Some(lasted) = silent
            && judge.send(Work::Silent(lasted)).await.is_err()
        {
            return;
        }
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

    /// Who ends a service tells all of its processes, the keeper perhaps first.
    async fn tell_to_end_within(&mut self, wait: Duration) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            () = tokio::time::sleep(wait) => false,
        }
    }

    /// A judge that is busy keeps nobody from ending.
    async fn reload_until_told_to_end(&mut self, judge: mpsc::Sender<Work>, at_reload: impl Fn()) {
        let mut wanted = false;
        loop {
            tokio::select! {
                _ = self.reload.recv() => wanted = true,
                Ok(place) = judge.reserve(), if wanted => {
                    place.send(Work::Reload);
                    at_reload();
                    wanted = false;
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}
