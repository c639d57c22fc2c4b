use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use inventory::RawText;

use crate::web_config::Subject;

/// Who asks, as far as they have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    /// The user whose password was right.
    pub(crate) user: Option<String>,
    /// Whom the client's certificate names, where an authority vouches for it.
    pub(crate) certificate: Option<Arc<Subject>>,
    /// The user who connected, where that was over a Unix socket (`SO_PEERCRED`, unix(7)).
    pub(crate) uid: Option<u32>,
}

impl Who {
    /// Somebody who has shown nothing.
    pub(crate) fn anonymous() -> Self {
        Who::default()
    }

    /// The name to be shown, escaped and no longer than a name is; `None` for who has none.
    pub(crate) fn name(&self) -> Option<String> {
        let subject = self.certificate.as_deref();
        let of_certificate =
            subject.and_then(|subject| subject.common_name.as_ref().or(subject.alternative.first()));
        self.user.as_ref().or(of_certificate).map(|name| shown(name))
    }
}

/// How much of what a stranger wrote is shown, in characters.
const MAX_SHOWN: usize = 256;

/// What a stranger wrote, escaped and cut where it is too long.
pub(super) fn shown(text: &str) -> String {
    let escaped = RawText::from(text).escaped();
    match escaped.char_indices().nth(MAX_SHOWN) {
        None => escaped,
        Some((end, _)) => format!("{}…", &escaped[..end]),
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// An address; an IPv4 address is never written as one of IPv6.
    Address(IpAddr),
    /// A user of this host, over a Unix socket.
    User(u32),
}

impl Peer {
    pub(super) fn at(address: IpAddr) -> Self {
        Peer::Address(address.to_canonical())
    }

    /// Who shares one bound: whoever has one IPv6 address has the 2^64 of its network (RFC 4291, section 2.5.4).
    pub(super) fn crowd(self) -> Self {
        match self {
            Peer::Address(IpAddr::V6(address)) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Peer::Address(Ipv6Addr::from(network).into())
            }
            other => other,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Address(address) => write!(formatter, "{address}"),
            Peer::User(uid) => write!(formatter, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let of = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("2001:db8::1").crowd(), of("2001:db8::ffff:1").crowd());
        assert_ne!(of("2001:db8::1").crowd(), of("2001:db8:0:1::1").crowd());
        assert_ne!(of("192.0.2.1").crowd(), of("192.0.2.2").crowd());
        assert_ne!(Peer::User(1).crowd(), Peer::User(2).crowd());
    }

    #[test]
    fn a_name_is_that_of_the_user_before_the_certificate() {
        let subject = |common_name: Option<&str>| {
            let alternative = vec!["prom.example.org".to_owned()];
            Some(Arc::new(Subject { common_name: common_name.map(str::to_owned), alternative }))
        };
        let who = |user: Option<&str>, certificate| {
            Who { user: user.map(str::to_owned), certificate, uid: Some(0) }.name()
        };
        assert_eq!(who(None, None), None);
        assert_eq!(who(None, subject(None)).as_deref(), Some("prom.example.org"));
        assert_eq!(who(None, subject(Some("a\nb"))).as_deref(), Some("a\\x0ab"));
        assert_eq!(who(Some("bob"), subject(Some("x"))).as_deref(), Some("bob"));
        assert_eq!(who(Some(&"é".repeat(999)), None).map(|name| name.chars().count()), Some(257));
    }
}
