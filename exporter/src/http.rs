//! What is answered over HTTP, and to whom for how long.

mod access;
mod addresses;
mod counts;
mod cut;
mod dress;
mod drift_page;
mod html;
mod landing;
mod logins;
mod peeked;
mod queue;
mod roles;
mod routes;
mod runbooks;
mod seats;
mod security;
mod server;
mod stream;
mod unshaken;
mod validity;
mod visits;
mod who;

pub(crate) use addresses::{Door, adopt, bind};
pub use addresses::{Inherited, InheritedError, ListenAddress, take_inherited};
pub(crate) use counts::HttpCounts;
pub use html::escaped_html;
pub use roles::{Right, Role};
pub(crate) use routes::{Board, router};
pub(crate) use seats::Seats;
pub(crate) use security::Security;
pub(crate) use server::{House, Rules};

#[cfg(any(test, fuzzing))]
pub(crate) use server::fuzzed::connections;

/// What a client sends: nothing of it makes the server fail, and what answers is HTTP.
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub fn fuzzed(bytes: &[u8]) {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::LazyLock;

    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use tokio::runtime::{Builder, Runtime};

    type Server = (Runtime, axum::Router);
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let (_, snapshots) = tokio::sync::watch::channel(crate::snapshot::Snapshot::default());
        let metrics = crate::metrics::Metrics::new(snapshots.clone(), true, std::time::SystemTime::now);
        let metrics = std::sync::Arc::new(metrics.expect("they have names of their own"));
        let board =
            Board { snapshots, metrics, telemetry_path: "/metrics".to_owned(), alerting: Default::default() };
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        (runtime, router(board).expect("the path is a good one"))
    });
    let (mut client, served) = UnixStream::pair().expect("sockets can be made");
    // What waits in the socket finds room.
    client.write_all(&bytes[..bytes.len().min(32 << 10)]).expect("there is room");
    client.shutdown(Shutdown::Write).expect("it is open");
    served.set_nonblocking(true).expect("it is open");
    let (runtime, router) = &*SERVER;
    // A client that breaks off is nothing.
    drop(runtime.block_on(async {
        let served = TokioIo::new(tokio::net::UnixStream::from_std(served).expect("it does not block"));
        let service = TowerToHyperService::new(router.clone());
        http1::Builder::new().half_close(true).keep_alive(false).serve_connection(served, service).await
    }));
    let mut answer = Vec::new();
    // Whoever is not read to the end is told so.
    let read = client.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", answer.escape_ascii());
    assert!(answer.get(9..12).is_none_or(|status| status != b"500"), "{read:?}: {}", answer.escape_ascii());
}

#[cfg(test)]
mod tests;
