use std::collections::BTreeMap;

use inventory::RawText;
use serde::Deserialize;

use super::names::{Curve, Suite};
use super::values::{Count, Span, Switch};

/// The file as it is written. Its keys and what they mean are those of the exporter toolkit
/// (docs/web-configuration.md of prometheus/exporter-toolkit); a section with nothing in it loses its defaults, as there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) tls_server_config: Option<TlsServer>,
    http_server_config: Option<HttpServer>,
    rate_limit: Option<RateLimit>,
    basic_auth_users: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsServer {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_allowed_sans: Option<Vec<Option<String>>>,
    pub(super) cipher_suites: Option<Vec<Option<Suite>>>,
    pub(super) curve_preferences: Option<Vec<Option<Curve>>>,
    pub(super) min_version: Option<Version>,
    pub(super) max_version: Option<Version>,
    prefer_server_cipher_suites: Option<Switch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpServer {
    http2: Switch,
    headers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub(super) interval: Span,
    pub(super) burst: Count,
}

/// A version of TLS, by Go's name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub(super) enum Version {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

impl Default for File {
    fn default() -> Self {
        File {
            tls_server_config: None,
            http_server_config: Some(HttpServer::default()),
            rate_limit: None,
            basic_auth_users: None,
        }
    }
}

impl Default for HttpServer {
    fn default() -> Self {
        HttpServer { http2: Switch(true), headers: None }
    }
}

impl File {
    /// The first document of a text and whether others follow, which do not count; or the line and what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<(File, bool), String> {
        let mut text = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
        let mut documents = serde_saphyr::read::<_, Option<File>>(&mut text);
        let file = match documents.next() {
            None => File::default(),
            Some(Ok(file)) => file.unwrap_or_default(),
            // It may quote the file.
            Some(Err(error)) => return Err(RawText::from(&*error.without_snippet().to_string()).escaped()),
        };
        Ok((file, documents.next().is_some()))
    }

    pub(super) fn http2(&self) -> bool {
        self.http_server_config.as_ref().is_some_and(|http| http.http2.0)
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.http_server_config.as_ref().and_then(|http| http.headers.as_ref()))
    }

    pub(super) fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.basic_auth_users.as_ref())
    }

    /// `None` where requests are not counted.
    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit.filter(|limit| limit.interval.0 != 0)
    }
}

impl TlsServer {
    /// Whether TLS is meant. As in the toolkit, bounds of versions or names alone do not mean it.
    pub(super) fn is_enabled(&self) -> bool {
        let said = [
            &self.cert,
            &self.key,
            &self.client_ca,
            &self.cert_file,
            &self.key_file,
            &self.client_ca_file,
            &self.client_auth_type,
        ];
        said.into_iter().any(|key| filled(key).is_some())
    }

    pub(super) fn prefers_its_own_order(&self) -> bool {
        self.prefer_server_cipher_suites.is_none_or(|prefers| prefers.0)
    }
}

/// What stands there, unless it is empty.
pub(super) fn filled(key: &Option<String>) -> Option<&str> {
    key.as_deref().filter(|text| !text.is_empty())
}

fn pairs(map: Option<&BTreeMap<String, Option<String>>>) -> impl Iterator<Item = (&str, &str)> {
    let each = |(name, value)| (String::as_str(name), Option::as_deref(value).unwrap_or_default());
    map.into_iter().flatten().map(each)
}
