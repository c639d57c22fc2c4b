//! What is told of a web configuration when another comes in force: nothing that would help to guess a password.

use std::path::PathBuf;
use std::time::SystemTime;

use inventory::RawText;

use super::WebConfig;
use super::tls::Tls;
use crate::document::time;

/// How many changes are told at once.
const MAX_TOLD: usize = 256;
/// How much of a name is shown, in characters.
const MAX_NAME: usize = 256;

/// What came of looking at the file again.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) at: SystemTime,
    pub(crate) file: PathBuf,
    /// The SHA-256 of the file that is in force, in hex.
    pub(crate) sha256: String,
    /// What is otherwise than it was before; at the start, than without the file.
    pub(crate) changes: Vec<String>,
    /// Why what stands in the files now is not in force.
    pub(crate) why: Option<String>,
}

/// In words, with names escaped.
pub(super) fn changes(before: Option<&WebConfig>, now: &WebConfig) -> Vec<String> {
    let mut told = of_tls(before.and_then(|before| before.tls.as_ref()), now.tls.as_ref());
    told.extend(match before {
        Some(before) => now.users.changes_since(&before.users),
        None => now.users.changes_since(&super::Users::default()),
    });
    let differs =
        |differs: fn(&WebConfig, &WebConfig) -> bool| before.is_some_and(|before| differs(before, now));
    if differs(|before, now| before.headers != now.headers) {
        told.push("headers changed".to_owned());
    }
    if differs(|before, now| !before.counts_as(now)) {
        told.push("rate limit changed".to_owned());
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    told.extend((more > 0).then(|| format!("{more} more")));
    told
}

fn of_tls(before: Option<&Tls>, now: Option<&Tls>) -> Vec<String> {
    let Some(now) = now else {
        return before.map(|_| "TLS off".to_owned()).into_iter().collect();
    };
    let Some(before) = before else {
        let certificate = format!("TLS on, with the certificate {}", certificate(now));
        return vec![certificate, format!("clients' certificates: {}", now.client_auth)];
    };
    let mut told = Vec::new();
    if before.fingerprint != now.fingerprint {
        told.push(format!("certificate replaced: {} in place of {}", certificate(now), certificate(before)));
    }
    if before.client_auth != now.client_auth {
        told.push(format!("clients' certificates: {} in place of {}", now.client_auth, before.client_auth));
    }
    for (differs, what) in [
        (before.authorities != now.authorities, "authorities of clients replaced"),
        (before.allowed_names != now.allowed_names, "client_allowed_sans changed"),
        (before.bounds != now.bounds, "versions, cipher suites, curves or HTTP/2 changed"),
    ] {
        told.extend(differs.then(|| what.to_owned()));
    }
    told
}

fn certificate(tls: &Tls) -> String {
    let ends = tls.certificate_ends.map_or("a time that cannot be read".to_owned(), time);
    let (name, serial) = (shown(&tls.subject), &tls.serial);
    format!("of {name}, serial {serial}, SHA-256 {}, until {ends}", tls.fingerprint)
}

/// Escaped, and no longer than a name is.
pub(super) fn shown(name: &str) -> String {
    RawText::from(name).escaped().chars().take(MAX_NAME).collect()
}
