use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::security::Security;
use crate::Error;

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to ask and be answered.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many are served at a time; the kernel's queue holds the rest.
const MAX_CONNECTIONS: usize = 64;
/// What a request's head may have.
const MAX_HEADER: u16 = 16 << 10;
/// How many requests an HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 8;

/// Opens every address, or none and says which could not be had.
pub(crate) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|error| Error::Listen { address: *address, error })?);
    }
    Ok(listeners)
}

/// Answers until it is dropped; returns only where a task fails. All listeners share one bound on connections.
pub(crate) async fn serve(listeners: Vec<TcpListener>, router: Router, security: Arc<Security>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut loops = tokio::task::JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, router.clone(), security.clone(), seats.clone()));
    }
    loops.join_next().await;
}

async fn accept(listener: TcpListener, router: Router, security: Arc<Security>, seats: Arc<Semaphore>) {
    while let Ok(seat) = seats.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                wait_after(&error).await;
                continue;
            }
        };
        let (router, security) = (router.clone(), security.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(CONNECTION_TIMEOUT, answer(stream, router, security)).await {
                Ok(Ok(())) => {}
                // Clients hang up when they please.
                Ok(Err(error)) => debug!("a connection ended early: {error}"),
                Err(_) => debug!("a connection took longer than {CONNECTION_TIMEOUT:?}"),
            }
            drop(seat);
        });
    }
}

/// A client that was gone before it was accepted is nothing; no descriptors left is a reason to wait for some.
async fn wait_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        warn!("no connection can be accepted, the next try is in a second: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One request, one answer: on loopback a new connection costs less than an idle one that must be watched.
async fn answer<S>(stream: S, router: Router, security: Arc<Security>) -> Result<(), Cut>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = security.handshake(stream).await?;
    let router = TowerToHyperService::new(router);
    let asked = Arc::new(Notify::new());
    let first = asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        first.notify_one();
        let (router, security, certificate) = (router.clone(), security.clone(), shaken.certificate.clone());
        async move {
            let mut response = match security.admit(&request, certificate.as_ref()).await {
                Ok(_) if !request.body().is_end_stream() => refuse_body(),
                Ok(_) => router.call(request).await?,
                Err(refusal) => refusal,
            };
            protect(&mut response);
            security.adorn(&mut response);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let stream = TokioIo::new(shaken.stream);
    if shaken.is_http2 {
        return Ok(answer_http2(stream, service, &asked).await?);
    }
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEADER.into());
    Ok(server.serve_connection(stream, service).await?)
}

/// As over HTTP/1: whoever has asked is told to open another connection for the next time. What was asked at once with
/// the first is still answered.
async fn answer_http2<S, H>(stream: TokioIo<S>, service: H, asked: &Notify) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Body, Error = std::convert::Infallible>,
    H::Future: Send + 'static,
{
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER.into());
    let mut connection = std::pin::pin!(server.serve_connection(stream, service));
    tokio::select! {
        ended = &mut connection => return ended,
        () = asked.notified() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("no TLS: {0}")]
    Handshake(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

fn refuse_body() -> Response<Body> {
    let mut response = Response::new(Body::from("requests have no body here\n"));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

/// What a browser must not do with names that strangers chose.
fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
