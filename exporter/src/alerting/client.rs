use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use inventory::RawText;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{self, Answer};
use super::receiver::{AlertReceiver, Login};
use crate::outbox::tls_config;

/// For a connection, with TLS.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// For all of an exchange, however little comes at a time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// No answer is read further.
const MAX_ANSWER: usize = 64 << 10;
/// How much of it is told.
const MAX_TEXT: usize = 300;
/// A password or a token.
const MAX_SECRET: u64 = 64 << 10;

/// A receiver, as it is asked: one request after the other over one connection.
pub(crate) struct Client {
    receiver: AlertReceiver,
    runtime: Runtime,
    link: Option<Link>,
}

struct Link {
    sender: SendRequest<Full<Bytes>>,
    authorization: Option<HeaderValue>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub(crate) enum ClientError {
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no connection within {} s", CONNECTS_WITHIN.as_secs())]
    Unreached,
    #[error("no answer within {} s", ANSWERS_WITHIN.as_secs())]
    Silent,
    #[error("{} cannot be read: {error}", path.display())]
    Secret { path: PathBuf, error: io::Error },
    #[error("{}: it holds more than one line, or characters that no header may have", .0.display())]
    NoSecret(PathBuf),
    #[error("its answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

impl Client {
    pub(crate) fn new(receiver: AlertReceiver) -> io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        Ok(Client { receiver, runtime, link: None })
    }

    /// Posts JSON. What a connection that was kept breaks off is asked again over a new one: whoever was told twice knows by
    /// its id.
    pub(crate) fn post(&mut self, body: Vec<u8>, key: Option<&str>) -> Result<Answer, ClientError> {
        let (receiver, kept) = (&self.receiver, self.link.take());
        let body = Bytes::from(body);
        let exchanged = self.runtime.block_on(async {
            timeout(ANSWERS_WITHIN, async {
                if let Some(link) = kept.filter(|link| !link.sender.is_closed())
                    && let Ok(answered) = exchange(link, receiver, body.clone(), key).await
                {
                    return Ok(answered);
                }
                let link = timeout(CONNECTS_WITHIN, connect(receiver));
                let link = link.await.map_err(|_| ClientError::Unreached)??;
                exchange(link, receiver, body, key).await
            })
            .await
        });
        let (answer, link) = exchanged.map_err(|_| ClientError::Silent)??;
        // Whom it does not let in it may with what is in the files now.
        self.link = Some(link).filter(|_| !matches!(answer.status, 401 | 403));
        Ok(answer)
    }
}

async fn connect(receiver: &AlertReceiver) -> Result<Link, ClientError> {
    let told = |error: &dyn std::fmt::Display| ClientError::Connect(error.to_string());
    let authorization = authorization(&receiver.login)?;
    let to = &receiver.to;
    let tcp = TcpStream::connect((to.host.as_str(), to.port)).await.map_err(|error| told(&error))?;
    tcp.set_nodelay(true).map_err(|error| told(&error))?;
    let sender = if to.tls {
        let config = tls_config(&receiver.tls).map_err(|error| told(&error))?;
        let name = ServerName::try_from(to.host.clone()).map_err(|error| told(&error))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        let tls = tls.map_err(|error| ClientError::Connect(format!("{error}{}", advice(&error))))?;
        shake_hands(tls).await?
    } else {
        shake_hands(tcp).await?
    };
    Ok(Link { sender, authorization })
}

/// What to do where the receiver cannot be believed to be who it is.
fn advice(error: &io::Error) -> &'static str {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(InvalidCertificate(UnknownIssuer)) => {
            ": nobody whom we believe vouches for its certificate: put into the file `ca` whoever signed it"
        }
        Some(InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            ": its certificate is of another name: name it in `url` as its certificate does"
        }
        Some(InvalidCertificate(Expired | ExpiredContext { .. })) => {
            ": its certificate is to be renewed there"
        }
        Some(InvalidMessage(_)) => {
            ": it speaks no TLS on this port: see whether `url` is to begin with http://"
        }
        _ => "",
    }
}

async fn shake_hands(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // How it ends is told by what is asked over it.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    mut link: Link,
    receiver: &AlertReceiver,
    body: Bytes,
    key: Option<&str>,
) -> Result<(Answer, Link), ClientError> {
    let mut request = Request::post(&receiver.to.path)
        .header(HOST, &receiver.to.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("portledger/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = &link.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(body)).map_err(|error| ClientError::Broken(error.to_string()))?;
    link.sender.ready().await.map_err(|error| broken(&error))?;
    let response = link.sender.send_request(request).await.map_err(|error| broken(&error))?;
    let answer = answer(response).await?;
    Ok((link.without_secret(answer), link))
}

impl Link {
    /// Some receivers repeat what they were sent, and anybody on this host may ask what they answered.
    fn without_secret(&self, answer: Answer) -> Answer {
        let secret = self.authorization.as_ref().and_then(|header| header.to_str().ok());
        let Some((_, secret)) = secret.and_then(|header| header.split_once(' ')) else { return answer };
        Answer { text: answer.text.replace(secret, "[redacted]"), ..answer }
    }
}

async fn answer(response: Response<Incoming>) -> Result<Answer, ClientError> {
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = header(RETRY_AFTER).map(str::to_owned);
    let date = header(DATE).and_then(answer::date);
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => ClientError::TooLarge,
        false => ClientError::Broken(error.to_string()),
    })?;
    let text = RawText::new(body.to_bytes().as_ref()).escaped();
    Ok(Answer { status, retry_after, date, text: text.chars().take(MAX_TEXT).collect() })
}

fn broken(error: &hyper::Error) -> ClientError {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    ClientError::Broken(format!("{error}{cause}"))
}

fn authorization(login: &Login) -> Result<Option<HeaderValue>, ClientError> {
    let (header, path) = match login {
        Login::Nobody => return Ok(None),
        Login::Basic { user, password } => {
            let both = [user.as_bytes(), b":", &secret(password)?].concat();
            (format!("Basic {}", Base64::encode_string(&both)).into_bytes(), password)
        }
        Login::Bearer(path) => ([b"Bearer ".as_slice(), &secret(path)?].concat(), path),
    };
    let mut header = HeaderValue::from_bytes(&header).map_err(|_| ClientError::NoSecret(path.clone()))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

/// Without the end of its line.
fn secret(path: &Path) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SECRET).read_to_end(&mut bytes));
    read.map_err(|error| ClientError::Secret { path: path.to_owned(), error })?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.iter().any(u8::is_ascii_control) || line.is_empty() {
        true => Err(ClientError::NoSecret(path.to_owned())),
        false => Ok(line.to_owned()),
    }
}
