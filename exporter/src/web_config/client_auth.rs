use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::Read;

/// What is asked of a client (Go's `crypto/tls.ClientAuthType`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "" | "NoClientCert" => ClientAuth::None,
            "RequestClientCert" => ClientAuth::Request,
            "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
            "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
            _ => return None,
        })
    }

    /// Go's name for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            ClientAuth::None => "NoClientCert",
            ClientAuth::Request => "RequestClientCert",
            ClientAuth::RequireAny => "RequireAnyClientCert",
            ClientAuth::VerifyIfGiven => "VerifyClientCertIfGiven",
            ClientAuth::RequireAndVerify => "RequireAndVerifyClientCert",
        }
    }

    pub(super) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }
}

/// Why a client's certificate is refused; to the client each of them is the same alert. The names are the client's: to be
/// escaped where they are shown.
#[derive(Debug, thiserror::Error)]
#[error("{}; it names {names}", reason(.error))]
struct Unwelcome {
    names: String,
    error: Error,
}

impl Unwelcome {
    fn new(client: &[u8], error: Error) -> Self {
        let names = Read::of(client).map(|read| read.subject.names().take(8).collect::<Vec<_>>().join(", "));
        let names = names.filter(|names| !names.is_empty()).unwrap_or_else(|| "nobody".to_owned());
        Unwelcome { names, error }
    }
}

fn reason(error: &Error) -> String {
    use CertificateError::{
        ApplicationVerificationFailure, BadEncoding, Expired, ExpiredContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    let why = match error {
        Error::InvalidCertificate(UnknownIssuer) => {
            "no authority that counts here vouches for the client's certificate"
        }
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "the client's certificate has expired",
        Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            "the client's certificate is not valid yet"
        }
        Error::InvalidCertificate(ApplicationVerificationFailure) => {
            "the client's certificate has none of client_allowed_sans"
        }
        Error::InvalidCertificate(BadEncoding) => "the client's certificate cannot be read",
        Error::InvalidCertificate(CertificateError::Other(why)) => {
            return format!("the client's certificate is refused: {why}");
        }
        other => return format!("the client's certificate is refused: {other}"),
    };
    why.to_owned()
}

/// Verifies clients' certificates as Go does: whom the authorities vouch for, and then whether one of the names is allowed.
///
/// Whoever shows a certificate proves in every case that its key is theirs.
#[derive(Debug)]
pub(super) struct ClientCheck {
    auth: ClientAuth,
    /// All authorities; `None` where there is none: nobody is vouched for then.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities' certificates. A client that has one of them itself is vouched for, as in Go.
    pinned: Vec<Authority>,
    allowed: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    /// `None` where we cannot read it.
    read: Option<Read>,
}

impl Authority {
    fn is_valid_at(&self, now: UnixTime) -> bool {
        self.read.as_ref().is_none_or(|read| read.is_valid_at(now))
    }
}

impl ClientCheck {
    /// `allowed` are the alternative names of which a certificate must have one.
    pub(super) fn new(
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        allowed: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let read =
            |certificate: CertificateDer<'static>| Authority { read: Read::of(&certificate), certificate };
        let pinned: Vec<Authority> = authorities.into_iter().map(read).collect();
        ClientCheck {
            auth,
            authorities: verifier(pinned.iter(), provider),
            pinned,
            allowed,
            provider: provider.clone(),
        }
    }

    /// Whether an authority is there to vouch for anybody.
    pub(super) fn has_authorities(&self) -> bool {
        self.authorities.is_some()
    }

    fn vouch(
        &self,
        client: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.pinned.iter().any(|pinned| pinned.certificate.as_ref() == client.as_ref()) {
            let read = Read::of(client).ok_or(CertificateError::BadEncoding)?;
            return if read.is_valid_at(now) { Ok(()) } else { Err(CertificateError::Expired.into()) };
        }
        let vouches = |authorities: Option<&Arc<dyn ClientCertVerifier>>| {
            let authorities = authorities.ok_or(CertificateError::UnknownIssuer)?;
            authorities.verify_client_cert(client, between, now).map(|_| ())
        };
        vouches(self.authorities.as_ref())?;
        // webpki asks no authority whether its own time is over; Go does.
        if self.pinned.iter().all(|pinned| pinned.is_valid_at(now)) {
            return Ok(());
        }
        let valid = self.pinned.iter().filter(|pinned| pinned.is_valid_at(now));
        vouches(verifier(valid, &self.provider).as_ref())
            .map_err(|_| CertificateError::Other(OtherError(Arc::new(AuthorityEnded))).into())
    }

    fn allow(&self, client: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let read = Read::of(client).ok_or(CertificateError::BadEncoding)?;
        match read.subject.alternative.iter().any(|name| allowed.contains(name)) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the authority that vouches for it has ended, or has not begun")]
struct AuthorityEnded;

fn verifier<'a>(
    authorities: impl Iterator<Item = &'a Authority>,
    provider: &Arc<CryptoProvider>,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.map(|authority| authority.certificate.clone()));
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok()
}

impl ClientCertVerifier for ClientCheck {
    fn offer_client_auth(&self) -> bool {
        self.auth != ClientAuth::None
    }

    fn client_auth_mandatory(&self) -> bool {
        // A client without a certificate has none of the names.
        matches!(self.auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify) || self.allowed.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        client: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let vouched = if self.auth.verifies() { self.vouch(client, between, now) } else { Ok(()) };
        let allowed = vouched.and_then(|()| self.allow(client));
        match allowed {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                Err(CertificateError::Other(OtherError(Arc::new(Unwelcome::new(client, error)))).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, client, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, client, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
