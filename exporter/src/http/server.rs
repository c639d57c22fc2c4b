//! From a connection to an answer: each step that may refuse is a line of [`House::answer`] or [`House::welcome`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::access::{AccessLog, Line};
use super::addresses::{Door, Socket};
use super::counts::{HttpCounts, Refusal};
use super::cut::Cut;
use super::dress::{behead, make_plain, protect};
use super::logins::Logins;
use super::peeked::Peeked;
use super::roles::{Rights, Role, in_vain};
use super::routes::{Detail, right_to};
use super::seats::{Seat, Seats, State};
use super::security::{Attempt, Claim, Security, Shaken};
use super::stream::{PIECE, Pieces};
use super::unshaken::{answer_plainly, is_plain_http};
use super::validity::Validity;
use super::visits::Visits;
use super::who::{Peer, Who, shown};
use crate::event_log::Entry;
use crate::judge::Work;
use crate::muffler::Muffler;
use crate::web_config::{Login, Subject};

/// What a request's head may have, in bytes and in headers.
const MAX_HEAD: u16 = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 8;
/// How long nobody is accepted where there are no descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether refusals are to be told together, and whether the certificate has ended.
const ROUND: Duration = Duration::from_secs(10);
/// How long a password may have to wait until it is verified.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Who may come in, and what for.
pub(crate) struct Rules {
    /// Where peers may be; from anywhere where it is empty.
    pub(crate) allow: Vec<IpNet>,
    /// Nothing but GET and HEAD gets further than the door.
    pub(crate) read_only: bool,
    pub(crate) roles: Vec<Role>,
    pub(crate) telemetry_path: String,
}

/// All that connections share.
pub(crate) struct House {
    router: Router,
    rules: Rules,
    seats: Arc<Seats>,
    counts: Arc<HttpCounts>,
    access: Arc<AccessLog>,
    logins: Logins,
    visits: Visits,
    judge: mpsc::Sender<Work>,
    security: Arc<Security>,
    uid: u32,
}

impl House {
    /// What there is to log goes to the judge.
    pub(crate) fn new(
        router: Router,
        rules: Rules,
        security: Arc<Security>,
        (seats, counts): (Arc<Seats>, Arc<HttpCounts>),
        judge: mpsc::Sender<Work>,
    ) -> Self {
        House {
            router,
            rules,
            seats,
            counts,
            access: AccessLog::new(),
            logins: Logins::default(),
            visits: Visits::new(Instant::now()),
            judge,
            security,
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Answers until it is dropped; returns only where a task fails.
    pub(crate) async fn serve(self: Arc<Self>, doors: Vec<Door>) {
        if !self.tell_news() {
            self.warn_of_roles();
        }
        let mut loops = tokio::task::JoinSet::new();
        for door in doors {
            loops.spawn(self.clone().keep(door));
        }
        loops.spawn(async move {
            let mut validity = Validity::default();
            loop {
                validity.watch(self.security.certificate_ends(), SystemTime::now());
                tokio::time::sleep(ROUND).await;
                self.log(self.visits.due(Instant::now(), SystemTime::now()));
                self.logins.forgive(Instant::now());
                self.tell_news();
            }
        });
        loops.join_next().await;
    }

    /// Has what was not logged yet logged.
    pub(crate) async fn close(&self) {
        let mut rest = self.visits.rest(SystemTime::now());
        rest.extend(self.security.news().into_iter().map(Entry::WebConfig));
        if !rest.is_empty() && self.judge.send(Work::Log(rest)).await.is_err() {
            warn!("who was refused last is not logged: the judge is gone");
        }
    }

    /// Names in roles that are nobody's shut out whoever was meant.
    pub(crate) fn warn_of_roles(&self) {
        let vain = self.security.with_config(|config| in_vain(&self.rules.roles, config));
        vain.iter().for_each(|line| warn!("{line}"));
    }

    /// Has logged what came in force of the web configuration, if anything did.
    fn tell_news(&self) -> bool {
        let news = self.security.news();
        let is_any = !news.is_empty();
        if is_any {
            self.warn_of_roles();
        }
        self.log(news.into_iter().map(Entry::WebConfig));
        is_any
    }

    async fn keep(self: Arc<Self>, door: Door) {
        let is_api = door.is_local_api;
        let mut refused = Muffler::default();
        loop {
            let accepted = match &door.socket {
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                    self.clone().welcome(stream, Visitor { peer: Peer::at(from.ip()), uid: None, is_api });
                }),
                Socket::Unix { listener, .. } => listener.accept().await.and_then(|(stream, _)| {
                    let uid = stream.peer_cred()?.uid();
                    self.clone().welcome(stream, Visitor { peer: Peer::User(uid), uid: Some(uid), is_api });
                    Ok(())
                }),
            };
            match accepted {
                // What it has sent already is read before others come in, who may take its seat.
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => self.wait_after(&error, &mut refused).await,
            }
        }
    }

    /// A client that was gone before it was accepted is nothing; no descriptors left is a reason to send somebody away.
    async fn wait_after(&self, error: &io::Error, refused: &mut Muffler) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            self.counts.refuse(Refusal::Descriptors);
            self.seats.free_one(Instant::now());
            refused.say(|| format!("a connection cannot be accepted: {error}"));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives a connection a seat, before anything is read of it.
    fn welcome<S>(self: Arc<Self>, stream: S, visitor: Visitor)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.counts.connect();
        if !self.allows(visitor.peer) {
            return self.cut(visitor.peer, Refusal::Network, None);
        }
        let (seat, cost) = self.seats.take(visitor.peer, Instant::now());
        if let Some((peer, refusal)) = cost {
            self.cut(peer, refusal, None);
        }
        let Some(seat) = seat else { return };
        let talk = self.clone().converse(stream, visitor, seat.state().clone());
        tokio::spawn(self.attend(talk, visitor.peer, seat));
    }

    /// Lets a connection go on until it ends or is cut off.
    async fn attend(self: Arc<Self>, talk: impl Future<Output = Result<(), Cut>>, peer: Peer, seat: Seat) {
        let (refusal, detail) = tokio::select! {
            // What came in time is answered, however late we read it.
            biased;
            ended = talk => {
                let Err(cut) = ended else { return };
                debug!("a connection ended early: {}", shown(&cut.to_string()));
                let Some(refusal) = cut.refusal() else { return };
                (refusal, cut.detail())
            }
            refusal = seat.end() => (refusal, None),
        };
        if !seat.was_sent_away() {
            self.cut(peer, refusal, detail.as_deref());
        }
    }

    fn allows(&self, peer: Peer) -> bool {
        match peer {
            Peer::Address(address) => {
                self.rules.allow.is_empty()
                    || self.rules.allow.iter().any(|network| network.contains(&address))
            }
            Peer::User(_) => true,
        }
    }

    /// Cuts off a connection that was not answered, and tells of it.
    fn cut(&self, peer: Peer, refusal: Refusal, detail: Option<&str>) {
        self.counts.refuse(refusal);
        self.access.cut(peer, refusal, detail);
        self.tell_refused(peer, None, (refusal, detail));
    }

    /// Users of this host are told apart by the kernel, and need no TLS.
    async fn converse<S>(self: Arc<Self>, stream: S, visitor: Visitor, state: Arc<State>) -> Result<(), Cut>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stream = Peeked::of(stream);
        if !visitor.is_api
            && self.security.has_tls()
            && stream.first().await.map_err(Cut::Handshake)?.is_some_and(is_plain_http)
        {
            // Whoever does not take it has hung up.
            answer_plainly(stream).await.unwrap_or_default();
            return Err(Cut::PlainHttp);
        }
        let shaken = match visitor.is_api {
            true => Shaken::bare(stream),
            false => self.security.handshake(stream).await?,
        };
        self.talk(shaken, visitor, state).await
    }

    /// One request, one answer: on loopback a new connection costs less than an idle one that must be watched.
    async fn talk<S>(
        self: Arc<Self>,
        shaken: Shaken<S>,
        visitor: Visitor,
        state: Arc<State>,
    ) -> Result<(), Cut>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Arc::new(Notify::new());
        let (first, certificate) = (asked.clone(), shaken.certificate);
        let service = service_fn(move |request: Request<Incoming>| {
            first.notify_one();
            let caller = Caller { visitor, certificate: certificate.clone(), state: state.clone() };
            self.clone().respond(request, caller)
        });
        let stream = TokioIo::new(shaken.stream);
        if shaken.is_http2 {
            return Ok(converse_http2(stream, service, &asked).await?);
        }
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            // The seat watches the time.
            .header_read_timeout(None)
            .keep_alive(false)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD.into());
        Ok(server.serve_connection(stream, service).await?)
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Result<Response<Body>, Infallible> {
        let mut line = Line::of(&request, caller.visitor.peer);
        let wants_head = request.method() == Method::HEAD;
        caller.state.works();
        let (mut response, refusal) = match self.answer(request, &caller, &mut line).await {
            Ok(response) => (response, None),
            Err(refused) => {
                self.counts.refuse(refused.why);
                self.tell_refused(caller.visitor.peer, refused.user.as_deref(), (refused.why, None));
                (refused.response, Some(refused.why))
            }
        };
        make_plain(&mut response);
        if wants_head {
            behead(&mut response);
        }
        protect(&mut response);
        self.security.adorn(&mut response);
        if refusal.is_some() || response.status().is_client_error() {
            caller.state.refuses();
        } else {
            self.let_in(&caller);
        }
        let response = response.map(|body| Body::new(Pieces::of(body, caller.state)));
        Ok(line.follow(response, refusal, &self.access))
    }

    /// All users of this host may ask over the local API, so that says nothing of anybody.
    fn let_in(&self, caller: &Caller) {
        caller.state.answers();
        if !caller.visitor.is_api {
            self.seats.remember(caller.visitor.peer, Instant::now());
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        caller: &Caller,
        line: &mut Line,
    ) -> Result<Response<Body>, Refused> {
        let visitor = caller.visitor;
        let who = if visitor.is_api {
            Who { uid: visitor.uid, ..Who::anonymous() }
        } else {
            self.who(&request, caller).await?
        };
        line.is_by(&who);
        let refused = |status, why| Refused { user: who.name(), ..Refused::by(status, why) };
        if self.rules.read_only && ![Method::GET, Method::HEAD].contains(request.method()) {
            return Err(refused(StatusCode::METHOD_NOT_ALLOWED, Refusal::Method));
        }
        if !request.body().is_end_stream() {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, Refusal::Body));
        }
        let rights = match visitor.uid.filter(|_| visitor.is_api) {
            Some(uid) => Rights::on_this_host(uid, self.uid),
            None => Rights::of(&who, &self.rules.roles),
        };
        let right = right_to(request.uri().path(), &self.rules.telemetry_path);
        if right.is_some_and(|right| !rights.include(right)) {
            return Err(refused(StatusCode::FORBIDDEN, Refusal::Role));
        }
        let detail = if rights.command_lines { Detail::Whole } else { Detail::NoCommandLines };
        request.extensions_mut().insert(detail);
        let answered = TowerToHyperService::new(self.router.clone()).call(request).await;
        Ok(answered.unwrap_or_else(|never| match never {}))
    }

    /// Whoever shows a password that is not known to be right waits for their turn, if somebody there showed wrong ones.
    async fn who(
        &self,
        request: &Request<Incoming>,
        Caller { visitor, certificate, state }: &Caller,
    ) -> Result<Who, Refused> {
        let peer = visitor.peer;
        let claim = self.security.claim(request, certificate.as_ref());
        self.tell_news();
        let who = match claim {
            Claim::Known(who) => who,
            Claim::TooOften => return Err(Refused::by(StatusCode::TOO_MANY_REQUESTS, Refusal::Hasty)),
            Claim::Nothing => {
                if request.headers().contains_key(header::AUTHORIZATION) {
                    self.counts.fail_login();
                }
                return Err(Refused::by(StatusCode::UNAUTHORIZED, Refusal::Login));
            }
            Claim::Attempt(attempt) => {
                let login = self.log_in(&attempt, peer, state).await;
                login.map_err(|refused| Refused { user: Some(attempt.user.clone()), ..refused })?;
                Who { user: Some(attempt.user), certificate: certificate.clone(), uid: None }
            }
        };
        self.log(self.visits.admitted(peer, &who, Instant::now(), SystemTime::now()));
        Ok(Who { uid: visitor.uid, ..who })
    }

    async fn log_in(&self, attempt: &Attempt, peer: Peer, state: &State) -> Result<(), Refused> {
        if !self.has_turn(&attempt.user, peer, state).await {
            return Err(Refused::by(StatusCode::TOO_MANY_REQUESTS, Refusal::Hasty));
        }
        let standing = self.seats.standing(peer, Instant::now());
        match self.security.verify(attempt, (peer, standing)).await {
            Login::Right => Ok(()),
            Login::Wrong => {
                self.counts.fail_login();
                self.logins.failed(peer, &attempt.user, Instant::now());
                Err(Refused::by(StatusCode::UNAUTHORIZED, Refusal::Login))
            }
            Login::Busy => Err(Refused::by(StatusCode::SERVICE_UNAVAILABLE, Refusal::Hasty)),
        }
    }

    /// Who hangs up meanwhile is no longer waited for, since nothing was taken before it is their turn.
    async fn has_turn(&self, user: &str, peer: Peer, state: &State) -> bool {
        let last = Instant::now() + LONGEST_WAIT;
        loop {
            let now = Instant::now();
            let wait = self.logins.turn(peer, user, now);
            if wait.is_zero() {
                state.works();
                return true;
            }
            if now + wait > last {
                return false;
            }
            state.waits();
            tokio::time::sleep(wait).await;
        }
    }

    fn tell_refused(&self, peer: Peer, user: Option<&str>, refusal: (Refusal, Option<&str>)) {
        let now = (Instant::now(), SystemTime::now());
        self.log(self.visits.refused(peer, user, refusal, now));
    }

    fn log(&self, entries: impl IntoIterator<Item = Entry>) {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if !entries.is_empty() && self.judge.try_send(Work::Log(entries)).is_err() {
            warn!("who came in or was refused is not logged: the judge is busy");
        }
    }
}

/// Who is at the other end, before anything was read.
#[derive(Clone, Copy)]
struct Visitor {
    peer: Peer,
    uid: Option<u32>,
    is_api: bool,
}

/// Who asks something over a connection.
struct Caller {
    visitor: Visitor,
    /// Whom the client's certificate names, where an authority vouches for it.
    certificate: Option<Arc<Subject>>,
    state: Arc<State>,
}

/// An answer that was asked for in vain.
struct Refused {
    response: Response<Body>,
    why: Refusal,
    /// The name that was shown.
    user: Option<String>,
}

impl Refused {
    fn by(status: StatusCode, why: Refusal) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        Refused { response, why, user: None }
    }
}

/// As over HTTP/1: whoever has asked is told to open another connection for the next time. What was asked at once with
/// the first is still answered.
async fn converse_http2<S, H>(stream: TokioIo<S>, service: H, asked: &Notify) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    H::Future: Send + 'static,
{
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD.into());
    // What waits here looks taken.
    server.max_send_buf_size(PIECE);
    let mut connection = std::pin::pin!(server.serve_connection(stream, service));
    tokio::select! {
        ended = &mut connection => return ended,
        () = asked.notified() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzed;
#[cfg(test)]
mod tests;
