//! A line for each request, at target `access`: refusals at level info, all others at level debug.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use tracing::{debug, info};

use super::counts::Refusal;
use super::who::{Peer, Who, shown};

/// How many refusals are written in a second; the others are counted.
const MAX_LINES: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Writes the lines, and no flood of them.
pub(crate) struct AccessLog {
    budget: Mutex<Budget>,
}

struct Budget {
    since: Instant,
    lines: u32,
    unsaid: u64,
}

impl AccessLog {
    pub(crate) fn new() -> Arc<Self> {
        let budget = Budget { since: Instant::now(), lines: 0, unsaid: 0 };
        Arc::new(AccessLog { budget: Mutex::new(budget) })
    }

    /// A connection that was refused or cut off before it was answered.
    pub(super) fn cut(&self, peer: Peer, refusal: Refusal, detail: Option<&str>) {
        let why = refusal.as_str();
        let detail = detail.map(|detail| format!(": {}", shown(detail))).unwrap_or_default();
        self.say(Instant::now(), || format!("access: {peer} was cut off: {why}{detail}"));
    }

    fn say(&self, now: Instant, line: impl FnOnce() -> String) {
        let Some(unsaid) = self.pay(now) else { return };
        match unsaid {
            0 => info!(target: "access", "{}", line()),
            more => info!(target: "access", "{} (and {more} more refusals before)", line()),
        }
    }

    /// `None` where the second has had its lines; else how many were not said before.
    fn pay(&self, now: Instant) -> Option<u64> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(budget.since) >= SECOND {
            (budget.since, budget.lines) = (now, 0);
        }
        if budget.lines >= MAX_LINES {
            budget.unsaid += 1;
            return None;
        }
        budget.lines += 1;
        Some(std::mem::take(&mut budget.unsaid))
    }
}

/// What is told of a request.
pub(super) struct Line {
    peer: Peer,
    name: Option<String>,
    method: String,
    path: String,
    began: Instant,
}

impl Line {
    pub(super) fn of<B>(request: &Request<B>, peer: Peer) -> Self {
        Line {
            peer,
            name: None,
            method: shown(request.method().as_str()),
            // What is asked for behind it may be a secret, and we take none.
            path: shown(request.uri().path()),
            began: Instant::now(),
        }
    }

    pub(super) fn is_by(&mut self, who: &Who) {
        self.name = who.name();
    }

    /// Writes the line when the answer was handed over, or is given up.
    pub(super) fn follow(
        self,
        response: Response<Body>,
        refusal: Option<Refusal>,
        log: &Arc<AccessLog>,
    ) -> Response<Body> {
        let status = response.status();
        let told = |body| Told { body, line: self, status, refusal, log: log.clone(), bytes: 0 };
        response.map(|body| Body::new(told(body)))
    }

    fn text(&self, status: StatusCode, bytes: u64, refusal: Option<Refusal>) -> String {
        let Line { peer, method, path, .. } = self;
        let name = self.name.as_deref().unwrap_or("-");
        let took = self.began.elapsed().as_secs_f64() * 1e3;
        let why = refusal.map(|refusal| format!(", {}", refusal.as_str())).unwrap_or_default();
        format!("access: {peer} {name} {method} {path} {} {bytes} B {took:.1} ms{why}", status.as_u16())
    }
}

/// A body that tells when it is over.
struct Told {
    body: Body,
    line: Line,
    status: StatusCode,
    refusal: Option<Refusal>,
    log: Arc<AccessLog>,
    bytes: u64,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.bytes += u64::try_from(length).unwrap_or(u64::MAX);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let text = || self.line.text(self.status, self.bytes, self.refusal);
        if self.status.is_client_error() {
            self.log.say(Instant::now(), text);
        } else {
            debug!(target: "access", "{}", text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_rest_is_counted() {
        let log = AccessLog::new();
        let now = Instant::now() + SECOND;
        let said = (0..100).filter(|_| log.pay(now).is_some()).count();
        assert_eq!(said, 20);
        assert_eq!(log.pay(now + SECOND), Some(80));
        assert_eq!(log.pay(now + SECOND), Some(0));
    }

    #[test]
    fn a_path_is_told_without_what_is_asked_for_and_escaped() {
        let request = Request::builder().method("GET").uri("/a%0ab?token=secret").body(()).unwrap();
        let line = Line::of(&request, Peer::User(7));
        let text = line.text(StatusCode::NOT_FOUND, 14, Some(Refusal::Role));
        assert!(
            text.starts_with("access: uid 7 - GET /a%0ab 404 14 B ") && text.ends_with("ms, role"),
            "{text}"
        );
    }
}
