use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inventory::RawText;
use rustls::pki_types::UnixTime;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The attribute of a subject that names it (RFC 4519, `cn`).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whom a certificate names. The bytes are its owner's: to be escaped where they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The last common name of its subject.
    pub(crate) common_name: Option<String>,
    /// Its alternative names, each as it is compared: DNS names, e-mail addresses, IP addresses, URIs.
    pub(crate) alternative: Vec<String>,
}

impl Subject {
    /// `None` for what is no certificate that RFC 5280 allows.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        Read::of(der).map(|read| read.subject)
    }
}

impl Subject {
    /// All names that it has.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.common_name.iter().chain(&self.alternative).map(String::as_str)
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.common_name.as_ref().or(self.alternative.first());
        let name = name.map_or(String::new(), |name| RawText::new(name.as_bytes()).escaped());
        formatter.write_str(&name)
    }
}

/// A certificate, as far as it concerns us (RFC 5280).
#[derive(Debug)]
pub(super) struct Read {
    pub(super) subject: Subject,
    /// In hex.
    pub(super) serial: String,
    not_before: Duration,
    not_after: Duration,
}

impl Read {
    /// Reads a certificate in DER; `None` where it is none that RFC 5280 allows.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
        let names = certificate.subject.0.iter().flat_map(|part| part.0.iter());
        let mut common = names.filter(|name| name.oid == COMMON_NAME).filter_map(|name| text(&name.value));
        let alternative = certificate.get::<SubjectAltName>().ok()?;
        let alternative = alternative.map_or(Vec::new(), |(_, names)| names.0);
        Some(Read {
            serial: hex(certificate.serial_number.as_bytes()),
            subject: Subject {
                common_name: common.next_back(),
                alternative: alternative.iter().filter_map(written).collect(),
            },
            not_before: certificate.validity.not_before.to_unix_duration(),
            not_after: certificate.validity.not_after.to_unix_duration(),
        })
    }

    pub(super) fn ends(&self) -> SystemTime {
        UNIX_EPOCH + self.not_after
    }

    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        (self.not_before.as_secs()..=self.not_after.as_secs()).contains(&now.as_secs())
    }
}

/// As `sha256sum` writes it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &x509_cert::der::Any) -> Option<String> {
    let text = match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value).ok()?.as_str(),
        Tag::PrintableString => PrintableStringRef::try_from(value).ok()?.as_str(),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok()?.as_str(),
        _ => return None,
    };
    Some(text.to_owned())
}

/// As Go writes it; other kinds of names are none to compare.
fn written(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(address) => Some(address.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        GeneralName::IpAddress(bytes) => {
            let address = match bytes.as_bytes() {
                bytes @ [_, _, _, _] => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
                bytes => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            };
            Some(address.to_canonical().to_string())
        }
        _ => None,
    }
}
