//! How HTTP is secured: the file of `--web.config.file`, as the exporter toolkit defines it.

mod certificate;
mod changes;
mod client_auth;
mod file;
#[cfg(test)]
pub(crate) mod fixtures;
mod headers;
mod in_force;
mod load;
mod names;
mod rate_limit;
mod tls;
mod users;
mod values;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use axum::http::HeaderMap;

pub(crate) use certificate::Subject;
pub(crate) use changes::News;
pub(crate) use in_force::InForce;
pub(crate) use rate_limit::Bucket;
pub(crate) use users::{Login, Passwords, Users};

use file::RateLimit;
use tls::Tls;

/// The file and those that it names, read and understood.
#[derive(Debug)]
pub(crate) struct WebConfig {
    /// `None` where plain HTTP is served.
    pub(crate) tls: Option<Tls>,
    /// What every answer has.
    pub(crate) headers: HeaderMap,
    pub(crate) users: Users,
    limit: Option<RateLimit>,
    /// Of the file itself, in hex.
    sha256: String,
    /// What has no effect, or another than might be thought.
    remarks: Vec<String>,
}

/// Why there is no web configuration to be had from a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WebConfigError {
    #[error("{path} cannot be read: {error}{}", hint(error))]
    Read { path: PathBuf, error: io::Error },
    #[error("{path}: tls_server_config.{key}: {named} cannot be read: {error}{}", hint(error))]
    Named { path: PathBuf, key: &'static str, named: PathBuf, error: io::Error },
    #[error("{path}: {what}")]
    Wrong { path: PathBuf, what: String },
    #[error(
        "{path} would take away {what}, which is not done while running: restart `portledger serve` if that is meant"
    )]
    LessSecure { path: PathBuf, what: &'static str },
}

/// The file and those that it names, as far as it can be read.
pub fn web_config_files(path: &Path) -> Vec<PathBuf> {
    load::load(path).0.into_iter().map(load::Watched::into_path).collect()
}

impl WebConfigError {
    fn unreadable(path: &Path, named: Option<(&'static str, PathBuf)>, error: io::Error) -> Self {
        let path = path.to_owned();
        match named {
            None => WebConfigError::Read { path, error },
            Some((key, named)) => WebConfigError::Named { path, key, named, error },
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it is read by the user that `portledger serve` runs as, again and again: `chown root:portledger` and \
             `chmod 640` let that user read it and nobody else, and its folders must let that user pass"
        }
        io::ErrorKind::NotFound => "; relative paths count from the folder of the file that names them",
        _ => "",
    }
}

impl WebConfig {
    /// What stands in a file, but for TLS.
    #[cfg(any(test, fuzzing))]
    fn without_tls(yaml: &str) -> Result<Self, String> {
        let (file, _) = file::File::parse(yaml)?;
        let (headers, users) = (headers::headers(file.headers())?, Users::new(file.users())?);
        Ok(WebConfig {
            tls: None,
            headers,
            users,
            limit: file.rate_limit(),
            sha256: String::new(),
            remarks: Vec::new(),
        })
    }

    /// A fresh count of requests; `None` where they are not counted.
    pub(crate) fn bucket(&self, now: Instant) -> Option<Bucket> {
        self.limit.map(|limit| Bucket::new(limit, now))
    }

    /// Whether requests are counted alike.
    pub(crate) fn counts_as(&self, other: &WebConfig) -> bool {
        let numbers = |config: &WebConfig| config.limit.map(|limit| (limit.interval.0, limit.burst.0));
        numbers(self) == numbers(other)
    }

    /// What protects us in `before` and not in this one: a file that is half written may have lost it.
    fn gives_up(&self, before: &WebConfig) -> Option<&'static str> {
        let needs = |config: &WebConfig| config.tls.as_ref().is_some_and(|tls| tls.needs_certificate);
        if before.tls.is_some() && self.tls.is_none() {
            Some("TLS")
        } else if needs(before) && !needs(self) {
            Some("the need for a client certificate")
        } else if !before.users.is_empty() && self.users.is_empty() {
            Some("all users")
        } else {
            None
        }
    }
}

/// A web configuration, the hash of a password, and a client's certificate.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    let harmless =
        |text: &str| assert!(text.chars().all(|one| one == '\n' || inventory::is_seen(one)), "{text:?}");
    if let Some(subject) = Subject::of(bytes) {
        harmless(&subject.to_string());
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    let file = match file::File::parse(text) {
        Ok((file, _)) => file,
        Err(wrong) => return harmless(&wrong),
    };
    match Users::new(file.users()) {
        Ok(users) => assert_eq!(users.is_empty(), file.users().next().is_none()),
        Err(wrong) => harmless(&wrong),
    }
    match headers::headers(file.headers()) {
        Ok(headers) => assert!(headers.len() <= file.headers().count()),
        Err(wrong) => harmless(&wrong),
    }
    if let Some(limit) = file.rate_limit() {
        let now = Instant::now();
        let mut bucket = Bucket::new(limit, now);
        assert!(bucket.lets_pass(now) || limit.burst.0 <= 0 || limit.interval.0 < 0);
    }
}

#[cfg(test)]
mod tests;
