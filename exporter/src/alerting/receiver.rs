use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

use crate::outbox::{TlsFiles, is_name};

/// Whom alerts are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertReceiver {
    pub(crate) name: String,
    pub(crate) kind: AlertReceiverKind,
    pub(crate) to: Target,
    pub(crate) tls: TlsFiles,
    pub(crate) login: Login,
}

/// What a receiver understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertReceiverKind {
    /// API v2 of Alertmanager; of a cluster, one member.
    Alertmanager,
    /// The JSON that docs/alerting.md describes.
    Webhook,
}

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they were written.
    pub(crate) authority: String,
    /// With what stands behind it. Of a webhook it may be a secret.
    pub(crate) path: String,
    /// What of it everybody may read.
    shown_path: String,
}

/// As whom we ask. The files are read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    #[default]
    Nobody,
    Basic {
        user: String,
        password: PathBuf,
    },
    Bearer(PathBuf),
}

/// A receiver as it is configured.
#[derive(Clone, Debug, Default)]
pub struct AlertReceiverKeys {
    /// Part of a file's name, and a label.
    pub name: String,
    /// `http://` or `https://`.
    pub url: String,
    /// Of `https://`.
    pub tls: TlsFiles,
    /// Of basic authentication.
    pub user: Option<String>,
    /// Its password alone.
    pub password_file: Option<PathBuf>,
    /// A token alone.
    pub bearer_file: Option<PathBuf>,
}

/// Why a receiver cannot be what it was written as.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AlertReceiverError {
    #[error("`name` is 1 to 32 letters, digits, `-` and `_`, not `{0}`")]
    Name(String),
    #[error("`url` is http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH], not `{0}`")]
    Url(String),
    #[error(
        "`url` has a user in it: name it as `user`, and a file with the password alone as `password_file`"
    )]
    UserInUrl,
    #[error("`url` of an Alertmanager ends with a path: `{0}` has something behind it")]
    Query(String),
    #[error("`ca`, `certificate` and `key` are of https:// only")]
    NotTls,
    #[error("`certificate` and `key` go together")]
    Half,
    #[error("`user` and `password_file` go together")]
    HalfLogin,
    #[error("`user` is one without `:` and of characters that are seen")]
    User,
    #[error("`bearer_file` and `user` exclude each other: a receiver is asked as one of them")]
    TwoLogins,
}

impl AlertReceiver {
    /// What is wrong is told by the names of the keys.
    pub fn new(kind: AlertReceiverKind, keys: AlertReceiverKeys) -> Result<Self, AlertReceiverError> {
        let AlertReceiverKeys { name, url, tls, user, password_file, bearer_file } = keys;
        if !is_name(&name) {
            return Err(AlertReceiverError::Name(name));
        }
        let to = Target::of(&url, kind)?;
        if !to.tls && tls != TlsFiles::default() {
            return Err(AlertReceiverError::NotTls);
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            return Err(AlertReceiverError::Half);
        }
        let login = match (user, password_file, bearer_file) {
            (None, None, None) => Login::Nobody,
            (None, None, Some(token)) => Login::Bearer(token),
            (Some(user), Some(password), None) => {
                if user.contains(':') || !user.chars().all(inventory::is_seen) {
                    return Err(AlertReceiverError::User);
                }
                Login::Basic { user, password }
            }
            (_, _, Some(_)) => return Err(AlertReceiverError::TwoLogins),
            _ => return Err(AlertReceiverError::HalfLogin),
        };
        Ok(AlertReceiver { name, kind, to, tls, login })
    }

    /// Under which its position and its series are kept.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files that it is asked with.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let TlsFiles { ca, certificate, key } = self.tls.clone();
        let secret = match &self.login {
            Login::Nobody => None,
            Login::Basic { password: file, .. } | Login::Bearer(file) => Some(file.clone()),
        };
        [ca, certificate, key, secret].into_iter().flatten()
    }
}

impl AlertReceiverKind {
    /// The name of its table.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertReceiverKind::Alertmanager => "alertmanager",
            AlertReceiverKind::Webhook => "webhook",
        }
    }
}

impl Target {
    fn of(url: &str, kind: AlertReceiverKind) -> Result<Self, AlertReceiverError> {
        let wrong = || AlertReceiverError::Url(shown(url));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?.as_str().to_owned();
        if authority.contains('@') {
            return Err(AlertReceiverError::UserInUrl);
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = match (uri.port_u16(), authority.strip_suffix(':')) {
            (Some(port), _) if port > 0 => port,
            (None, None) if authority.ends_with(uri.host().unwrap_or_default()) => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(wrong()),
        };
        let path = match kind {
            AlertReceiverKind::Webhook => uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            AlertReceiverKind::Alertmanager if uri.query().is_some() => {
                return Err(AlertReceiverError::Query(shown(url)));
            }
            AlertReceiverKind::Alertmanager => format!("{}/api/v2/alerts", uri.path().trim_end_matches('/')),
        };
        let shown_path = match kind {
            AlertReceiverKind::Webhook if path == "/" => path.clone(),
            AlertReceiverKind::Webhook => "/…".to_owned(),
            AlertReceiverKind::Alertmanager => path.clone(),
        };
        Ok(Target { tls, host, port, authority, path, shown_path })
    }
}

/// Without what may be a secret.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (before, path) = rest.split_once('/').map_or((rest, ""), |(before, path)| (before, path));
            let host = before.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", if path.is_empty() { "" } else { "/…" })
        }
        None => url.to_owned(),
    };
    inventory::RawText::from(shown.as_str()).escaped()
}

/// Without the path of a webhook: many receivers know by it alone who may post.
impl fmt::Display for Target {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(to, "{scheme}://{}{}", self.authority, self.shown_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(url: &str) -> AlertReceiverKeys {
        AlertReceiverKeys { name: "a".to_owned(), url: url.to_owned(), ..AlertReceiverKeys::default() }
    }

    #[test]
    fn a_url_is_read_as_it_is_shown() {
        use AlertReceiverKind::{Alertmanager, Webhook};
        for (kind, url, shown, port) in [
            (Alertmanager, "http://am:9093", "http://am:9093/api/v2/alerts", 9093),
            (
                Alertmanager,
                "https://am.example.org/prefix/",
                "https://am.example.org/prefix/api/v2/alerts",
                443,
            ),
            (Alertmanager, "http://[2001:db8::1]:9093", "http://[2001:db8::1]:9093/api/v2/alerts", 9093),
            (Webhook, "http://127.0.0.1/hook/secret?token=secret", "http://127.0.0.1/…", 80),
            (Webhook, "http://127.0.0.1", "http://127.0.0.1/", 80),
            (Webhook, "http://127.0.0.1?token=secret", "http://127.0.0.1/…", 80),
        ] {
            let receiver = AlertReceiver::new(kind, keys(url)).unwrap();
            assert_eq!((receiver.to.to_string().as_str(), receiver.to.port), (shown, port));
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_no_secret() {
        let with = |url: &str, change: fn(&mut AlertReceiverKeys)| {
            let mut keys = keys(url);
            change(&mut keys);
            AlertReceiver::new(AlertReceiverKind::Alertmanager, keys).unwrap_err().to_string()
        };
        let nothing: fn(&mut AlertReceiverKeys) = |_| {};
        for (told, part) in [
            (with("ftp://a", nothing), "`ftp://a`"),
            (with("am:9093", nothing), "`url`"),
            (with("http://", nothing), "`url`"),
            (with("http://a:0", nothing), "`url`"),
            (with("http://a:70000", nothing), "`url`"),
            (with("http://me:secret@a", nothing), "password_file"),
            (with("http://a/?secret=1", nothing), "behind it"),
            (with("http://a", |keys| keys.name = "a/b".to_owned()), "`a/b`"),
            (with("http://a", |keys| keys.tls.ca = Some("ca".into())), "https:// only"),
            (with("https://a", |keys| keys.tls.key = Some("key".into())), "together"),
            (with("http://a", |keys| keys.user = Some("me".to_owned())), "`password_file` go together"),
            (with("http://a", |keys| keys.password_file = Some("f".into())), "`password_file` go together"),
            (
                with("http://a", |keys| {
                    keys.user = Some("me".to_owned());
                    keys.bearer_file = Some("f".into());
                }),
                "exclude each other",
            ),
        ] {
            assert!(told.contains(part) && !told.contains("secret"), "{told}");
        }
    }
}
