use std::fmt;
use std::path::PathBuf;

/// A log in the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    /// Acts of people.
    Ledger,
    /// Sockets and drift.
    Events,
    /// What was in force when.
    Reloads,
    /// Who came in by HTTP, and who did not.
    Logins,
    /// Which alerts fired and were resolved.
    Alerts,
}

impl Log {
    pub(crate) const ALL: [Log; 5] = [Log::Ledger, Log::Events, Log::Reloads, Log::Logins, Log::Alerts];

    /// Its name: the file's, without `.jsonl`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Log::Ledger => "ledger",
            Log::Events => "events",
            Log::Reloads => "reloads",
            Log::Logins => "logins",
            Log::Alerts => "alerts",
        }
    }
}

/// To whom logs are exported, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub(crate) name: String,
    pub(crate) to: Destination,
    pub(crate) logs: Vec<Log>,
    pub(crate) facility: Facility,
}

/// Where a receiver listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Tcp(Peer),
    Tls(Peer, TlsFiles),
    /// A socket of syslog, whichever of the two kinds it is.
    Unix(PathBuf),
    /// The socket of journald's own protocol.
    Journal(PathBuf),
}

/// A name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What a TLS connection is made with, PEM each. They are read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may vouch for the receiver; where `None`, whom the system believes.
    pub ca: Option<PathBuf>,
    /// What we show of ourselves; the leaf first.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// The facility of syslog, RFC 5424 table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facility(u8);

/// Why a receiver cannot be what it was written as.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReceiverError {
    #[error("`name` is 1 to 32 letters, digits, `-` and `_`, not `{0}`")]
    Name(String),
    #[error(
        "`to` is syslog+tls://HOST:PORT, syslog+tcp://HOST:PORT, syslog:///SOCKET, journald or journald:///SOCKET, not `{0}`"
    )]
    To(String),
    #[error("`logs` has ledger, events, reloads, logins or alerts, each once, and not `{0}`")]
    Logs(String),
    #[error(
        "`facility` is none of syslog's: `{0}`; the usual are auth, authpriv, daemon, and local0 to local7"
    )]
    Facility(String),
    #[error("`ca`, `certificate` and `key` are of syslog+tls:// only")]
    NotTls,
    #[error("`certificate` and `key` go together")]
    Half,
}

impl Receiver {
    /// Without `logs` all of them; without a facility, authpriv.
    pub fn new(
        name: &str,
        to: &str,
        files: TlsFiles,
        logs: Option<&[String]>,
        facility: Option<&str>,
    ) -> Result<Self, ReceiverError> {
        if !is_name(name) {
            return Err(ReceiverError::Name(name.to_owned()));
        }
        Ok(Receiver {
            name: name.to_owned(),
            to: destination(to, files)?,
            logs: logs.map_or(Ok(Log::ALL.to_vec()), logs_of)?,
            facility: Facility::of(facility.unwrap_or("authpriv"))?,
        })
    }

    /// What its position and its series are kept under.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// It is part of a file's name and a label.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=32).contains(&name.len()) && name.bytes().all(is_plain)
}

fn destination(to: &str, files: TlsFiles) -> Result<Destination, ReceiverError> {
    let wrong = || ReceiverError::To(to.to_owned());
    if let Some(peer) = to.strip_prefix("syslog+tls://") {
        if files.certificate.is_some() != files.key.is_some() {
            return Err(ReceiverError::Half);
        }
        return Ok(Destination::Tls(Peer::of(peer).ok_or_else(wrong)?, files));
    }
    if files != TlsFiles::default() {
        return Err(ReceiverError::NotTls);
    }
    if let Some(peer) = to.strip_prefix("syslog+tcp://") {
        return Peer::of(peer).map(Destination::Tcp).ok_or_else(wrong);
    }
    let path = |path: &str| path.starts_with('/').then(|| PathBuf::from(path)).ok_or_else(wrong);
    match to.strip_prefix("syslog://") {
        Some(socket) => path(socket).map(Destination::Unix),
        None if to == "journald" => Ok(Destination::Journal(PathBuf::from("/run/systemd/journal/socket"))),
        None => path(to.strip_prefix("journald://").ok_or_else(wrong)?).map(Destination::Journal),
    }
}

impl Peer {
    fn of(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|_| address)?,
            None => host,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = inner.is_some() || (!host.is_empty() && host.bytes().all(is_plain));
        let port = port.parse().ok().filter(|port| *port > 0)?;
        is_host.then(|| Peer { host: host.to_owned(), port })
    }
}

fn logs_of(names: &[String]) -> Result<Vec<Log>, ReceiverError> {
    let mut logs = Vec::new();
    for name in names {
        match Log::ALL.into_iter().find(|log| log.as_str() == name) {
            Some(log) if !logs.contains(&log) => logs.push(log),
            _ => return Err(ReceiverError::Logs(name.clone())),
        }
    }
    if logs.is_empty() { Err(ReceiverError::Logs("[]".to_owned())) } else { Ok(logs) }
}

impl Facility {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
        "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5",
        "local6", "local7",
    ];

    pub(super) fn of(name: &str) -> Result<Self, ReceiverError> {
        let place = Facility::NAMES.iter().position(|known| *known == name);
        let number = place.and_then(|place| u8::try_from(place).ok());
        number.map(Facility).ok_or_else(|| ReceiverError::Facility(name.to_owned()))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Tcp(peer) => write!(to, "syslog+tcp://{peer}"),
            Destination::Tls(peer, _) => write!(to, "syslog+tls://{peer}"),
            Destination::Unix(path) => write!(to, "syslog://{}", path.display()),
            Destination::Journal(path) => write!(to, "journald://{}", path.display()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(to, "[{}]:{}", self.host, self.port),
            false => write!(to, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> Result<String, ReceiverError> {
        Receiver::new("a", text, TlsFiles::default(), None, None).map(|receiver| receiver.to.to_string())
    }

    #[test]
    fn a_destination_is_read_as_it_is_shown() {
        for text in [
            "syslog+tcp://127.0.0.1:514",
            "syslog+tls://logs.example.org:6514",
            "syslog+tls://[2001:db8::1]:6514",
            "syslog:///dev/log",
            "journald:///run/test",
        ] {
            assert_eq!(to(text).unwrap(), text);
        }
        assert_eq!(to("journald").unwrap(), "journald:///run/systemd/journal/socket");
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "syslog+udp://a:1",
            "syslog+tcp://a",
            "syslog+tcp://:514",
            "syslog+tcp://a:0",
            "syslog+tcp://a:70000",
            "syslog+tcp://a b:1",
            "syslog+tcp://2001:db8::1:514",
            "syslog+tcp://[a]:514",
            "syslog://dev/log",
            "journald://run",
            "journald:",
        ] {
            assert!(matches!(to(text), Err(ReceiverError::To(_))), "{text}");
        }
    }

    #[test]
    fn what_else_is_wrong_is_told() {
        let ca = || TlsFiles { ca: Some("ca".into()), ..TlsFiles::default() };
        let half = || TlsFiles { key: Some("key".into()), ..TlsFiles::default() };
        let of = |name: &str, to: &str, files, logs: &[&str], facility: &str| {
            let logs: Vec<String> = logs.iter().map(|log| (*log).to_owned()).collect();
            Receiver::new(name, to, files, Some(&logs), Some(facility)).unwrap_err().to_string()
        };
        for (told, part) in [
            (of("a/b", "journald", TlsFiles::default(), &["events"], "auth"), "`a/b`"),
            (of("", "journald", TlsFiles::default(), &["events"], "auth"), "`name`"),
            (of("a", "journald", ca(), &["events"], "auth"), "only"),
            (of("a", "syslog+tls://a:1", half(), &["events"], "auth"), "together"),
            (of("a", "journald", TlsFiles::default(), &["event"], "auth"), "`event`"),
            (of("a", "journald", TlsFiles::default(), &["events", "events"], "auth"), "each once"),
            (of("a", "journald", TlsFiles::default(), &[], "auth"), "`logs`"),
            (of("a", "journald", TlsFiles::default(), &["events"], "local8"), "`local8`"),
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
