use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::http::{Request, Response, header};
use base64ct::{Base64, Encoding};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::queue::Queue;
use super::seats::Standing;
use super::who::{Peer, Who};
use crate::web_config::{Bucket, InForce, Login, News, Passwords, Subject, WebConfig};

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What stands between accepting a connection and answering its requests: the web configuration.
pub(crate) struct Security {
    /// `None` serves plain HTTP to everybody.
    config: Option<Arc<InForce>>,
    passwords: Passwords,
    queue: Arc<Queue>,
    bucket: Mutex<Option<Counted>>,
}

/// The bucket of requests, and the configuration that it was made for.
struct Counted {
    config: Arc<WebConfig>,
    bucket: Option<Bucket>,
}

/// What a request shows of who asks.
pub(super) enum Claim {
    /// That is who it is: nobody was asked for a password, or this one was right before.
    Known(Who),
    /// A password that may be right.
    Attempt(Attempt),
    /// No password, or none that can be read.
    Nothing,
    /// More requests came than the configuration allows.
    TooOften,
}

/// A user and a password, and the configuration that they are to be held against.
pub(super) struct Attempt {
    config: Arc<WebConfig>,
    pub(super) user: String,
    password: Vec<u8>,
}

/// A connection over which requests can come.
pub(super) struct Shaken<S> {
    pub(super) stream: Either<S, TlsStream<S>>,
    /// Whom the client's certificate names, where an authority vouches for it.
    pub(super) certificate: Option<Arc<Subject>>,
    /// Both sides speak HTTP/2.
    pub(super) is_http2: bool,
}

impl<S> Shaken<S> {
    /// One that needs no TLS.
    pub(super) fn bare(stream: S) -> Self {
        Shaken { stream: Either::Left(stream), certificate: None, is_http2: false }
    }
}

impl Security {
    pub(crate) fn new(config: Option<Arc<InForce>>) -> Self {
        Security { config, passwords: Passwords::new(), queue: Arc::default(), bucket: Mutex::new(None) }
    }

    /// What came in force since it was asked last.
    pub(super) fn news(&self) -> Vec<News> {
        self.config.as_ref().map(|config| config.take_news()).unwrap_or_default()
    }

    /// Gives what is in force, or that there is no such file.
    pub(super) fn with_config<T>(&self, take: impl FnOnce(Option<&WebConfig>) -> T) -> T {
        take(self.config.as_ref().map(|config| config.last()).as_deref())
    }

    /// Whether connections are encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.last().tls.is_some())
    }

    /// When the certificate that we serve with ends.
    pub(super) fn certificate_ends(&self) -> Option<SystemTime> {
        // A file that was replaced may be one that nobody has asked for yet.
        self.config.as_ref().and_then(|config| config.current().tls.as_ref()?.certificate_ends)
    }

    /// Whether a stranger who reaches us can read nothing, neither of what is asked nor by asking.
    pub(crate) fn is_closed(&self) -> bool {
        self.config.as_ref().is_some_and(|config| {
            let config = config.last();
            let tls = config.tls.as_ref();
            tls.is_some_and(|tls| tls.needs_certificate || !config.users.is_empty())
        })
    }

    /// Shakes hands where there is TLS, by the configuration as it stands now.
    pub(super) async fn handshake<S>(&self, stream: S) -> io::Result<Shaken<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config.as_ref().map(|config| config.current());
        let Some(tls) = config.as_ref().and_then(|config| config.tls.as_ref()) else {
            return Ok(Shaken::bare(stream));
        };
        let shaking = TlsAcceptor::from(tls.config.clone()).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await??;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().and_then(|chain| chain.first()).filter(|_| tls.vouches);
        let certificate = shown.and_then(|shown| Subject::of(shown)).map(Arc::new);
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        Ok(Shaken { stream: Either::Right(stream), certificate, is_http2 })
    }

    /// Says who asks, as far as that takes no time.
    pub(super) fn claim<B>(&self, request: &Request<B>, certificate: Option<&Arc<Subject>>) -> Claim {
        let known = |user| Claim::Known(Who { user, certificate: certificate.cloned(), uid: None });
        let Some(config) = self.config.as_ref().map(|config| config.current()) else { return known(None) };
        if !self.is_in_time(&config, Instant::now()) {
            return Claim::TooOften;
        }
        if config.users.is_empty() {
            return known(None);
        }
        let Some((user, password)) = credentials(request) else { return Claim::Nothing };
        match self.passwords.are_known(&config.users, &user, &password) {
            true => known(Some(user)),
            false => Claim::Attempt(Attempt { config, user, password }),
        }
    }

    /// Whether the password of an attempt is right; it takes one hash, one at a time.
    pub(super) async fn verify(&self, attempt: &Attempt, (peer, standing): (Peer, Standing)) -> Login {
        let turn = self.queue.clone().turn(peer, standing);
        self.passwords.verify(&attempt.config.users, (&attempt.user, &attempt.password), turn).await
    }

    /// Adds what the configuration wants every answer to have; it goes before what we set ourselves.
    pub(super) fn adorn(&self, response: &mut Response<Body>) {
        let Some(config) = &self.config else { return };
        let config = config.last();
        for (name, value) in &config.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }

    fn is_in_time(&self, config: &Arc<WebConfig>, now: Instant) -> bool {
        let mut counted = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *counted {
            Some(known) if known.config.counts_as(config) => {}
            other => *other = Some(Counted { config: config.clone(), bucket: config.bucket(now) }),
        }
        let bucket = counted.as_mut().and_then(|counted| counted.bucket.as_mut());
        bucket.is_none_or(|bucket| bucket.lets_pass(now))
    }
}

/// Name and password of HTTP's basic authentication (RFC 7617).
fn credentials<B>(request: &Request<B>) -> Option<(String, Vec<u8>)> {
    let header = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = Base64::decode_vec(std::str::from_utf8(encoded).ok()?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    Some((String::from_utf8(user.to_vec()).ok()?, password[1..].to_vec()))
}

#[cfg(test)]
mod tests;
