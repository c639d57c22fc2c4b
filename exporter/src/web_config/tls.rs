use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier as _;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use sha2::{Digest, Sha256};

use super::certificate::{Read, hex};
use super::client_auth::{ClientAuth, ClientCheck};
use super::file::{TlsServer, Version, filled};

/// One of these HTTP/2 must have (RFC 7540, section 9.2.2): a list without is refused where HTTP/2 is on.
const OF_HTTP2: [&str; 2] =
    ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];

/// Bytes in PEM, and under which key of the file they were found.
#[derive(Debug)]
pub(super) struct Pem {
    pub(super) key: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// What the keys of certificates lead to.
#[derive(Debug)]
pub(super) struct Pems {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
    /// Whose clients are vouched for.
    pub(super) client_ca: Option<Pem>,
    /// The authorities that this system believes; they vouch for clients where the file names none.
    pub(super) system: Vec<u8>,
}

/// TLS as it is served.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// When the first certificate of the chain ends; `None` where none says so in a way that we can read.
    pub(crate) certificate_ends: Option<SystemTime>,
    /// Whether somebody vouches for whoever shows a certificate; otherwise anybody could have made it.
    pub(crate) vouches: bool,
    /// Whether nobody is admitted without such a certificate.
    pub(crate) needs_certificate: bool,
    /// What the certificate is told by: whom it names first, its serial number, and its SHA-256.
    pub(super) subject: String,
    pub(super) serial: String,
    pub(super) fingerprint: String,
    /// What is asked of clients, who vouches for them by SHA-256, and which names they may have.
    pub(super) client_auth: &'static str,
    pub(super) authorities: String,
    pub(super) allowed_names: Option<Vec<Option<String>>>,
    /// What of the rest can be told to have changed.
    pub(super) bounds: String,
    /// What of the file cannot be had here, and what is done instead.
    pub(super) remarks: Vec<String>,
}

impl Tls {
    /// Or the key that is wrong, why, and what to do.
    pub(super) fn new(section: &TlsServer, pems: Pems, http2: bool) -> Result<Self, String> {
        let mut remarks = Vec::new();
        let versions = versions(section, &mut remarks)?;
        let (suites, curves) = (&section.cipher_suites, &section.curve_preferences);
        let bounds =
            format!("{versions:?} {suites:?} {curves:?} {} {http2}", section.prefers_its_own_order());
        let provider = Arc::new(provider(section, &versions, http2, &mut remarks)?);
        let check = client_check(section, &pems, &provider, &mut remarks)?;
        let auth = check.as_ref().map_or(ClientAuth::None, |(auth, _)| *auth);
        let vouches = auth.verifies();
        let needs_certificate =
            vouches && check.as_ref().is_some_and(|(_, check)| check.client_auth_mandatory());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| format!("tls_server_config: {error}"))?;
        let builder = match check {
            Some((_, check)) => builder.with_client_cert_verifier(Arc::new(check)),
            None => builder.with_no_client_auth(),
        };
        let chain = certificates(&pems.certificate)?;
        let first = chain.first().and_then(|first| Read::of(first));
        let fingerprint = chain.first().map(|first| hex(&Sha256::digest(first))).unwrap_or_default();
        let certificate_ends =
            chain.iter().filter_map(|certificate| Some(Read::of(certificate)?.ends())).min();
        let subject =
            first.as_ref().and_then(|read| read.subject.names().next()).unwrap_or("nobody").to_owned();
        let serial = first.map(|read| read.serial).unwrap_or_default();
        let named = pems.client_ca.as_ref().map_or(&pems.system, |pem| &pem.bytes);
        let authorities = if vouches { hex(&Sha256::digest(named)) } else { String::new() };
        let pair = builder.with_single_cert(chain, private_key(&pems.key)?);
        let mut config = pair.map_err(|error| {
            format!(
                "tls_server_config.{}: not usable with tls_server_config.{}: {error}; the key must be the certificate's own, \
                 in PEM and without a passphrase: RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519",
                pems.key.key, pems.certificate.key
            )
        })?;
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.ignore_client_order = section.prefers_its_own_order();
        // Each connection is verified anew: a session that was resumed would outlive the certificate of its client.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Tls {
            config: Arc::new(config),
            certificate_ends,
            vouches,
            needs_certificate,
            subject,
            serial,
            fingerprint,
            client_auth: auth.as_str(),
            authorities,
            allowed_names: section.client_allowed_sans.clone(),
            bounds,
            remarks,
        })
    }
}

fn versions(
    section: &TlsServer,
    remarks: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let lowest = section.min_version.unwrap_or(Version::Tls12);
    let highest = section.max_version.unwrap_or(Version::Tls13);
    if lowest < Version::Tls12 && highest >= Version::Tls12 {
        remarks.push(
            "tls_server_config.min_version: TLS 1.0 and 1.1 are not to be had here, TLS12 is the lowest"
                .to_owned(),
        );
    }
    let all = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)];
    let within = all.into_iter().filter(|(version, _)| (lowest..=highest).contains(version));
    let within: Vec<_> = within.map(|(_, version)| version).collect();
    match (within.is_empty(), highest < Version::Tls12) {
        (false, _) => Ok(within),
        (true, true) => {
            Err("tls_server_config.max_version: TLS 1.0 and 1.1 are not to be had here (rustls has \
             TLS12 and TLS13): raise it"
                .to_owned())
        }
        (true, false) => {
            Err("tls_server_config.min_version: it is above max_version, so that no version is left: \
             lower it"
                .to_owned())
        }
    }
}

/// What is encrypted with. As in Go, the list says nothing of TLS 1.3, whose suites are always on.
fn provider(
    section: &TlsServer,
    versions: &[&'static SupportedProtocolVersion],
    http2: bool,
    remarks: &mut Vec<String>,
) -> Result<CryptoProvider, String> {
    let mut provider = default_provider();
    let suites: Vec<_> = section.cipher_suites.iter().flatten().flatten().collect();
    if section.cipher_suites.as_ref().is_some_and(|list| !list.is_empty()) {
        let asked = section.min_version.is_none_or(|lowest| lowest < Version::Tls13);
        if http2 && asked && !suites.iter().any(|suite| OF_HTTP2.contains(&suite.name)) {
            return Err(format!(
                "tls_server_config.cipher_suites: HTTP/2 needs one of {}: add it, or set http_server_config.http2 to false",
                OF_HTTP2.join(", ")
            ));
        }
        let left_out = names(suites.iter().filter(|suite| suite.here.is_none()).map(|suite| suite.name));
        let (of_13, _): (Vec<_>, Vec<_>) =
            provider.cipher_suites.into_iter().partition(|suite| suite.tls13().is_some());
        let of_12 = suites.iter().filter_map(|suite| suite.here).filter(|suite| suite.tls13().is_none());
        provider.cipher_suites = of_13.into_iter().chain(of_12).collect();
        let usable = provider.cipher_suites.iter().any(|suite| versions.contains(&suite.version()));
        if !usable {
            return Err(match left_out.as_str() {
                "" => "tls_server_config.cipher_suites: none of them is of TLS 1.2, and max_version allows no other: add \
                     one of TLS 1.2, or raise max_version"
                    .to_owned(),
                left_out => format!(
                    "tls_server_config.cipher_suites: {left_out} are not to be had here (rustls has none in CBC mode), and \
                     nothing else is left: add one in GCM mode"
                ),
            });
        }
        if !left_out.is_empty() {
            remarks.push(format!(
                "tls_server_config.cipher_suites: not to be had here and left out: {left_out}"
            ));
        }
    }
    let curves: Vec<_> = section.curve_preferences.iter().flatten().flatten().collect();
    if !curves.is_empty() {
        provider.kx_groups = curves.iter().filter_map(|curve| curve.here).collect();
        let left_out = names(curves.iter().filter(|curve| curve.here.is_none()).map(|curve| curve.name));
        if provider.kx_groups.is_empty() {
            return Err(format!(
                "tls_server_config.curve_preferences: {left_out} is not to be had here, and nothing else is left: add X25519, \
                 CurveP256 or CurveP384"
            ));
        }
        if !left_out.is_empty() {
            remarks.push(format!(
                "tls_server_config.curve_preferences: not to be had here and left out: {left_out}"
            ));
        }
    }
    Ok(provider)
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// `None` where no client is asked for a certificate.
fn client_check(
    section: &TlsServer,
    pems: &Pems,
    provider: &Arc<CryptoProvider>,
    remarks: &mut Vec<String>,
) -> Result<Option<(ClientAuth, ClientCheck)>, String> {
    let name = section.client_auth_type.as_deref().unwrap_or_default();
    let auth = ClientAuth::of(name).ok_or_else(|| {
        format!(
            "tls_server_config.client_auth_type: `{}` is none of NoClientCert, RequestClientCert, RequireAnyClientCert, \
             VerifyClientCertIfGiven, RequireAndVerifyClientCert",
            name.escape_debug()
        )
    })?;
    let allowed = section.client_allowed_sans.as_ref();
    if auth == ClientAuth::None {
        if let Some(ca) = &pems.client_ca {
            return Err(format!(
                "tls_server_config.{}: it has no effect without client_auth_type: set that to RequireAndVerifyClientCert",
                ca.key
            ));
        }
        if allowed.is_some() {
            remarks.push(
                "tls_server_config.client_allowed_sans: without client_auth_type no client is asked for its certificate, \
                 and nobody is refused"
                    .to_owned(),
            );
        }
        return Ok(None);
    }
    let of_system = Pem { key: "client_ca_file", bytes: pems.system.clone() };
    let authorities = pems.client_ca.as_ref().unwrap_or(&of_system);
    let allowed = allowed.map(|names| names.iter().map(|name| name.clone().unwrap_or_default()).collect());
    // As in Go, what is no certificate in it does not count.
    let found = CertificateDer::pem_slice_iter(&authorities.bytes).flatten().collect();
    let check = ClientCheck::new(auth, found, allowed, provider);
    if auth.verifies() && pems.client_ca.is_none() {
        remarks.push(format!(
            "tls_server_config.client_auth_type: no client_ca_file is named, so that {} vouches for clients",
            if check.has_authorities() { "every authority that this system believes" } else { "nobody" }
        ));
    } else if auth.verifies() && !check.has_authorities() {
        remarks.push(format!(
            "tls_server_config.{}: there is no usable certificate in it, and nobody is admitted by another",
            authorities.key
        ));
    }
    Ok(Some((auth, check)))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("tls_server_config.{}: there is no certificate in PEM in it", pem.key)),
        Err(error) => Err(format!("tls_server_config.{}: it is not PEM: {error}", pem.key)),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!(
            "tls_server_config.{}: there is no private key without a passphrase in PEM in it (`openssl pkey -in OLD -out NEW` \
             takes the passphrase off)",
            pem.key
        ),
        other => format!("tls_server_config.{}: it is not PEM: {other}", pem.key),
    })
}

/// What the file's paths mean: `filled` of each, with the key that it stood under.
pub(super) fn source<'a>(
    file: (&'static str, &'a Option<String>),
    inline: (&'static str, &'a Option<String>),
) -> Option<(&'static str, Source<'a>)> {
    let named = filled(file.1).map(|path| (file.0, Source::File(path)));
    named.or_else(|| filled(inline.1).map(|text| (inline.0, Source::Inline(text))))
}

/// Where PEM stands.
pub(super) enum Source<'a> {
    File(&'a str),
    Inline(&'a str),
}
