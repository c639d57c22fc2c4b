use std::io;

use super::counts::Refusal;
use super::unshaken::{in_words, is_of_certificate};

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("no TLS: {}", in_words(.0))]
    Handshake(#[from] io::Error),
    #[error("plain HTTP where TLS is spoken")]
    PlainHttp,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl Cut {
    /// What whoever looks for the reason wants to know.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Cut::Handshake(error) => Some(in_words(error)),
            Cut::PlainHttp => Some(self.to_string()),
            Cut::Http(_) => None,
        }
    }

    /// What to count of it. Clients hang up when they please.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Cut::Handshake(error) if is_of_certificate(error) => Some(Refusal::Certificate),
            Cut::Handshake(_) | Cut::PlainHttp => Some(Refusal::Handshake),
            Cut::Http(error) if error.is_parse_too_large() => Some(Refusal::LargeHead),
            Cut::Http(error) if error.is_parse() => Some(Refusal::Malformed),
            Cut::Http(_) => None,
        }
    }
}
