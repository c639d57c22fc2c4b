use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::certificate::hex;
use super::file::{self, TlsServer};
use super::tls::{Pem, Pems, Source, Tls, source};
use super::users::Users;
use super::{WebConfig, WebConfigError, headers};

/// A file of certificates and keys is a hundredth of it.
const MAX_FILE: u64 = 1 << 20;
/// Within this time of a change another one may leave the same times in the file.
const UNSETTLED: Duration = Duration::from_secs(2);

/// A file that was read, or was to be read, and how it looked at that moment.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    seen: Seen,
}

#[derive(Debug)]
enum Seen {
    Missing,
    /// It had changed so lately that it may change again and look the same.
    Young,
    Settled(Stamp),
}

#[derive(Debug, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watched {
    /// Before the file is read, so that what is written while it is read is noticed.
    fn before_reading(path: &Path) -> Self {
        let seen = match stamp(path) {
            None => Seen::Missing,
            Some(stamp) if stamp.is_settled() => Seen::Settled(stamp),
            Some(_) => Seen::Young,
        };
        Watched { path: path.to_owned(), seen }
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Whether it may be another than the one that was read.
    pub(super) fn may_have_changed(&self) -> bool {
        match (&self.seen, stamp(&self.path)) {
            (Seen::Settled(then), Some(now)) => *then != now,
            (Seen::Missing, None) => false,
            _ => true,
        }
    }
}

/// `None` for what is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        let since_epoch = Duration::from_secs(self.changed.0.unsigned_abs());
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since_epoch);
        age.is_ok_and(|age| age > UNSETTLED)
    }
}

/// Reads the file and those that it names, which are watched from then on, also where something is wrong.
pub(super) fn load(path: &Path) -> (Vec<Watched>, Result<WebConfig, WebConfigError>) {
    let mut watched = Vec::new();
    let loaded = assemble(path, &mut watched);
    (watched, loaded)
}

fn assemble(path: &Path, watched: &mut Vec<Watched>) -> Result<WebConfig, WebConfigError> {
    let wrong = |what: String| WebConfigError::Wrong { path: path.to_owned(), what };
    let bytes = read(path, watched).map_err(|error| WebConfigError::unreadable(path, None, error))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let (file, more) = file::File::parse(&text).map_err(wrong)?;
    let headers = headers::headers(file.headers()).map_err(wrong)?;
    let users = Users::new(file.users()).map_err(wrong)?;
    let section = file.tls_server_config.as_ref();
    let tls = match section.filter(|section| section.is_enabled()) {
        Some(section) => {
            let pems = pems(path, section, watched)?;
            Some(Tls::new(section, pems, file.http2()).map_err(wrong)?)
        }
        None => None,
    };
    let mut remarks = tls.as_ref().map_or_else(Vec::new, |tls| tls.remarks.clone());
    if more {
        remarks.push("it has more than one YAML document: all but the first have no effect".to_owned());
    }
    if tls.is_none() && section.is_some() {
        remarks.push("tls_server_config: neither cert_file nor key_file is set: TLS is off".to_owned());
    }
    let limit = file.rate_limit();
    if limit.is_some_and(|limit| limit.burst.0 <= 0 && limit.interval.0 > 0) {
        remarks.push(
            "rate_limit.burst: with a burst of 0 every request is refused: set it to 1 or more".to_owned(),
        );
    }
    for user in users.shut_out() {
        remarks.push(format!(
            "basic_auth_users: {}: no password fits this hash, it is not whole",
            user.escape_debug()
        ));
    }
    Ok(WebConfig { tls, headers, users, limit, sha256, remarks })
}

fn pems(path: &Path, section: &TlsServer, watched: &mut Vec<Watched>) -> Result<Pems, WebConfigError> {
    let missing = |what: &str| WebConfigError::Wrong {
        path: path.to_owned(),
        what: format!("tls_server_config: {what} is missing: TLS needs a certificate and its key"),
    };
    let certificate = source(("cert_file", &section.cert_file), ("cert", &section.cert));
    let certificate = certificate.ok_or_else(|| missing("cert_file (or cert)"))?;
    let key = source(("key_file", &section.key_file), ("key", &section.key));
    let key = key.ok_or_else(|| missing("key_file (or key)"))?;
    let client_ca = source(("client_ca_file", &section.client_ca_file), ("client_ca", &section.client_ca));
    let mut pem = |(key, source): (&'static str, Source<'_>)| match source {
        Source::Inline(text) => Ok(Pem { key, bytes: text.as_bytes().to_vec() }),
        Source::File(named) => {
            let file = path.parent().unwrap_or(Path::new("")).join(named);
            let bytes = read(&file, watched);
            let bytes =
                bytes.map_err(|error| WebConfigError::unreadable(path, Some((key, file.clone())), error))?;
            Ok(Pem { key, bytes })
        }
    };
    let (certificate, key) = (pem(certificate)?, pem(key)?);
    let client_ca = client_ca.map(pem).transpose()?;
    Ok(Pems { certificate, key, client_ca, system: of_system() })
}

/// Empty where the system believes nobody.
fn of_system() -> Vec<u8> {
    let bundle = crate::outbox::BUNDLES.iter().find_map(|path| File::open(path).ok());
    let mut bytes = Vec::new();
    let read = bundle.map(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    if read.is_some_and(|read| read.is_err()) {
        bytes.clear();
    }
    bytes
}

fn read(path: &Path, watched: &mut Vec<Watched>) -> io::Result<Vec<u8>> {
    watched.push(Watched::before_reading(path));
    // Whoever opens a pipe or a device may wait for ever.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(0..=MAX_FILE) => Ok(bytes),
        _ => Err(io::Error::other(format!("it has more than {MAX_FILE} bytes"))),
    }
}
