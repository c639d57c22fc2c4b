use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The headers that the file may set, and the values where only some are allowed.
const ALLOWED: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", axum::http::header::CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", axum::http::header::STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", axum::http::header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", axum::http::header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", axum::http::header::X_XSS_PROTECTION, &[]),
];

/// The headers of every answer, or what is wrong with one. Names are written as above, to the letter.
pub(super) fn headers<'a>(wanted: impl Iterator<Item = (&'a str, &'a str)>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let at = format!("http_server_config.headers: {}", name.escape_debug());
        let Some((_, header, values)) = ALLOWED.iter().find(|(allowed, _, _)| *allowed == name) else {
            let names = ALLOWED.map(|(name, _, _)| name).join(", ");
            return Err(format!("{at} cannot be set: choose among {names}, written so"));
        };
        if !values.is_empty() && !values.contains(&value) {
            return Err(format!("{at}: `{}` is none of {}", value.escape_debug(), values.join(", ")));
        }
        // A header ends with its line.
        let line = value.replace(['\r', '\n'], " ");
        let line = HeaderValue::from_str(line.trim());
        let line = line.map_err(|_| format!("{at}: its value has a control character, take it out"))?;
        headers.insert(header.clone(), line);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_toolkits_names_and_values() {
        let of = |name: &str, value: &str| {
            headers([(name, value)].into_iter()).map(|headers| headers.values().next().unwrap().clone())
        };
        for (name, value) in [
            ("X-Frame-Options", "deny"),
            ("X-Frame-Options", "sameorigin"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-XSS-Protection", "1"),
            ("X-XSS-Protection", ""),
            ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
            ("Content-Security-Policy", "default-src 'self' *.example.net"),
        ] {
            assert_eq!(of(name, value).unwrap(), value, "{name}");
        }
        assert_eq!(of("Content-Security-Policy", "a\r\nSet-Cookie: b\n").unwrap(), "a  Set-Cookie: b");
        for (name, value, says) in [
            ("X-Frame-Options", "DENY", "`DENY` is none of deny, sameorigin"),
            ("X-Frame-Options", "", "`` is none of deny, sameorigin"),
            ("X-Content-Type-Options", "sniff", "`sniff` is none of nosniff"),
            (
                "x-frame-options",
                "deny",
                "x-frame-options cannot be set: choose among Content-Security-Policy",
            ),
            ("Content-Type", "foo", "Content-Type cannot be set"),
            ("X-XSS-Protection", "\0", "control character"),
        ] {
            let error = of(name, value).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
        }
    }
}
