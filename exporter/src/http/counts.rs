use std::sync::atomic::{AtomicU64, Ordering};

/// Why somebody was not answered, or not what they asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It comes from a network that may not ask.
    Network,
    /// Another connection of the same peer took its seat.
    Peer,
    /// Another connection took its seat.
    Crowded,
    /// There were no descriptors left.
    Descriptors,
    /// The request's head took too long.
    SlowHead,
    /// The request's head was too large.
    LargeHead,
    /// There was no TLS with it: none was begun, or it did not believe our certificate.
    Handshake,
    /// It had no certificate, or not the right one.
    Certificate,
    /// It was no HTTP.
    Malformed,
    /// The request had a body.
    Body,
    /// The request would have changed something.
    Method,
    /// The answer was not read.
    Stalled,
    /// Asking and answering took too long.
    TooLong,
    /// Nobody knows who it is: no password, or a wrong one.
    Login,
    /// Too many wrong passwords, or too many requests.
    Hasty,
    /// Whoever it is may not read this.
    Role,
}

impl Refusal {
    pub(crate) const ALL: [Refusal; 16] = [
        Refusal::Network,
        Refusal::Peer,
        Refusal::Crowded,
        Refusal::Descriptors,
        Refusal::SlowHead,
        Refusal::LargeHead,
        Refusal::Handshake,
        Refusal::Certificate,
        Refusal::Malformed,
        Refusal::Body,
        Refusal::Method,
        Refusal::Stalled,
        Refusal::TooLong,
        Refusal::Login,
        Refusal::Hasty,
        Refusal::Role,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Refusal::Network => "network",
            Refusal::Peer => "peer",
            Refusal::Crowded => "crowded",
            Refusal::Descriptors => "descriptors",
            Refusal::SlowHead => "slow_head",
            Refusal::LargeHead => "large_head",
            Refusal::Handshake => "handshake",
            Refusal::Certificate => "certificate",
            Refusal::Malformed => "malformed",
            Refusal::Body => "body",
            Refusal::Method => "method",
            Refusal::Stalled => "stalled",
            Refusal::TooLong => "too_long",
            Refusal::Login => "login",
            Refusal::Hasty => "hasty",
            Refusal::Role => "role",
        }
    }
}

/// What has happened over HTTP since the process began.
#[derive(Default)]
pub(crate) struct HttpCounts {
    refused: [AtomicU64; Refusal::ALL.len()],
    connections: AtomicU64,
    failed_logins: AtomicU64,
}

impl HttpCounts {
    pub(super) fn refuse(&self, refusal: Refusal) {
        let place = Refusal::ALL.iter().position(|known| *known == refusal);
        if let Some(count) = place.and_then(|place| self.refused.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn connect(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fail_login(&self) {
        self.failed_logins.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().zip(counts)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn failed_logins(&self) -> u64 {
        self.failed_logins.load(Ordering::Relaxed)
    }
}
