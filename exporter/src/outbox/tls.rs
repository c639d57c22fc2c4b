use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::receiver::{Peer, TlsFiles};

/// Where distributions keep those whom the system believes.
pub(crate) const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// A system's bundle is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no TLS connection with these files.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub(crate) enum TlsError {
    #[error(
        "{path} cannot be read: {error}: it must be readable to the user that `portledger serve` runs as{}",
        group(error)
    )]
    Read { path: PathBuf, error: io::Error },
    #[error("{0} is larger than {MAX_FILE} bytes, which no file of certificates or keys is")]
    TooLarge(PathBuf),
    #[error("{0} has no {1} in PEM")]
    Empty(PathBuf, &'static str),
    #[error("{0}: {1}")]
    Malformed(PathBuf, String),
    #[error("there is none of {}: name the file of those who vouch for the receiver as `ca`", BUNDLES.join(", "))]
    NoBundle,
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}

fn group(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; `chgrp portledger` and `chmod 640` give it to that user and nobody else"
        }
        _ => "",
    }
}

/// Reads the files, as they are now: certificates are renewed while we run.
pub(crate) fn config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let builder = builder.with_root_certificates(roots(files.ca.as_deref())?);
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let bytes = read(key)?;
            let malformed = |error: rustls::pki_types::pem::Error| match error {
                rustls::pki_types::pem::Error::NoItemsFound => TlsError::Empty(key.clone(), "private key"),
                other => TlsError::Malformed(key.clone(), other.to_string()),
            };
            let own = PrivateKeyDer::from_pem_slice(&bytes).map_err(malformed)?;
            builder.with_client_auth_cert(certificates(certificate)?, own)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Shakes hands over a connection whose timeouts are set.
pub(crate) fn connect(
    mut tcp: TcpStream,
    peer: &Peer,
    files: &TlsFiles,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(peer.host.clone())
        .map_err(|_| io::Error::other(TlsError::Name(peer.host.clone())))?;
    let config = config(files).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(session, tcp))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let path = match ca {
        Some(path) => path,
        None => BUNDLES.iter().map(Path::new).find(|path| path.exists()).ok_or(TlsError::NoBundle)?,
    };
    let mut roots = RootCertStore::empty();
    // A bundle may have old ones that nobody can use.
    roots.add_parsable_certificates(certificates(path)?);
    if roots.is_empty() {
        return Err(TlsError::Empty(path.to_owned(), "certificate that can be used"));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| TlsError::Malformed(path.to_owned(), error.to_string()))?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned(), "certificate")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match u64::try_from(bytes.len()) {
        Ok(0..=MAX_FILE) => Ok(bytes),
        _ => Err(TlsError::TooLarge(path.to_owned())),
    }
}
