use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
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

    pub(super) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }
}

/// Verifies clients' certificates as Go does: whom the authorities vouch for, and then whether one of the names is allowed.
///
/// Whoever shows a certificate proves in every case that its key is theirs.
#[derive(Debug)]
pub(super) struct ClientCheck {
    auth: ClientAuth,
    /// `None` where there is no authority: nobody is vouched for then.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities' certificates. A client that has one of them itself is vouched for, as in Go.
    pinned: Vec<CertificateDer<'static>>,
    allowed: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCheck {
    /// `allowed` are the alternative names of which a certificate must have one.
    pub(super) fn new(
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        allowed: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        ClientCheck {
            auth,
            authorities: verifier.ok(),
            pinned: authorities,
            allowed,
            algorithms: provider.signature_verification_algorithms,
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
        if self.pinned.iter().any(|pinned| pinned.as_ref() == client.as_ref()) {
            let read = Read::of(client).ok_or(CertificateError::BadEncoding)?;
            return if read.is_valid_at(now) { Ok(()) } else { Err(CertificateError::Expired.into()) };
        }
        let authorities = self.authorities.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        authorities.verify_client_cert(client, between, now).map(|_| ())
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
        if self.auth.verifies() {
            self.vouch(client, between, now)?;
        }
        self.allow(client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, client, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, client, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
