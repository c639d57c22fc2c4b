//! Why no TLS came about, in words for whoever looks after this host. The client is told none of it.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What Go's servers say to those who speak plain HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Names in it are the client's: to be escaped where it is shown.
pub(super) fn in_words(error: &io::Error) -> String {
    match (error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()), error.kind()) {
        (Some(error), _) => of_tls(error),
        (None, io::ErrorKind::UnexpectedEof) => "the client hung up".to_owned(),
        (None, io::ErrorKind::TimedOut) => "the client took too long".to_owned(),
        (None, _) => error.to_string(),
    }
}

/// Whether the client had no certificate, or not the right one.
pub(super) fn is_of_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented))
}

fn of_tls(error: &Error) -> String {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown, UnknownCA,
        UnsupportedCertificate,
    };
    match error {
        Error::NoCertificatesPresented => "the client showed no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::Other(ours)) => ours.to_string(),
        Error::AlertReceived(
            alert @ (BadCertificate
            | CertificateExpired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate),
        ) => format!("the client does not accept our certificate, it says {alert:?}"),
        Error::AlertReceived(alert) => format!("the client broke off, it says {alert:?}"),
        Error::InvalidMessage(_) => "what came is no TLS".to_owned(),
        Error::PeerIncompatible(why) => format!("the client and we have too little in common: {why:?}"),
        other => other.to_string(),
    }
}

/// Whether it is the first byte of a method of HTTP. TLS begins with 22 (RFC 8446, section 5.1).
pub(super) fn is_plain_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}

/// Answers who spoke plain HTTP, as far as that can be done at once.
pub(super) async fn answer_plainly<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    // What is not read when it is closed may cost the client our answer.
    std::future::poll_fn(|context| {
        let mut request = [0; 4096];
        let read = Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut request));
        Poll::Ready(match read {
            Poll::Ready(read) => read,
            Poll::Pending => Ok(()),
        })
    })
    .await?;
    std::future::poll_fn(|context| Pin::new(&mut stream).poll_write(context, PLAIN)).await?;
    std::future::poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await
}
