//! What is done to every answer before it goes out.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use hyper::body::Body as _;

/// Of a status that is the client's fault everybody is told the same.
pub(super) fn make_plain(response: &mut Response<Body>) {
    let status = response.status();
    if status.is_client_error() {
        let reason = status.canonical_reason().unwrap_or("Refused");
        *response.body_mut() = Body::from(format!("{} {reason}\n", status.as_u16()));
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
}

/// To those who want the head alone a body is an error (RFC 9110, section 9.3.2); its length is none.
pub(super) fn behead(response: &mut Response<Body>) {
    let length = response.body().size_hint().exact();
    *response.body_mut() = Body::empty();
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
}

/// What a browser must not do with names that strangers chose.
pub(super) fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
