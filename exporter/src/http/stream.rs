use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::seats::State;

/// How much of an answer is handed over at a time, in bytes, and how much waits for its client besides.
pub(super) const PIECE: usize = 16 << 10;

/// An answer in pieces. The next one is wanted when the client has taken what came before; nothing else that a client does tells
/// its seat that it reads.
pub(super) struct Pieces {
    body: Body,
    rest: Bytes,
    state: Arc<State>,
}

impl Pieces {
    pub(super) fn of(body: Body, state: Arc<State>) -> Self {
        Pieces { body, rest: Bytes::new(), state }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        self.state.progress();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        // The upper bound first: a lower one above it is a panic.
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(of_body.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::who::Peer;
    use super::*;

    #[tokio::test]
    async fn an_answer_is_whole_and_as_long_as_it_says() {
        let seats = super::super::seats::Seats::new();
        let seat = seats.take(Peer::User(0), Instant::now()).0.unwrap();
        let state = seat.state();
        for length in [0, 1, PIECE, PIECE + 1, PIECE * 3] {
            let text: Vec<u8> = (0..=255).cycle().take(length).collect();
            let mut pieces = Pieces::of(Body::from(text.clone()), state.clone());
            let mut told = Vec::new();
            while !pieces.is_end_stream() {
                assert_eq!(pieces.size_hint().exact(), Some((length - told.len()) as u64));
                let frame = std::future::poll_fn(|context| Pin::new(&mut pieces).poll_frame(context)).await;
                let piece = frame.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE);
                told.extend_from_slice(&piece);
            }
            assert_eq!(told, text);
        }
    }
}
