//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
#![allow(clippy::expect_used)]

use base64ct::{Base64, Encoding};
use jiff::tz::TimeZone;

use crate::{AllowedSigners, PublicKey, RevokedKeys, Signature};

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] = &[
    ("signing_allowed_signers", allowed_signers),
    ("signing_revoked_keys", revoked_keys),
    ("signing_signatures", signatures),
];

/// A file of `allowed_signers`. Whatever is wrong with it is told harmlessly and not at length.
pub fn allowed_signers(bytes: &[u8]) {
    match AllowedSigners::parse(bytes, &TimeZone::UTC) {
        Ok(signers) => {
            let everybody = signers.everybody("approval@portledger", |_| true);
            assert!(everybody.iter().map(|name| name.len()).sum::<usize>() <= bytes.len());
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty() && mistakes.len() <= 50, "{} mistakes", mistakes.len());
            for mistake in mistakes {
                let told = mistake.to_string();
                assert!(told.len() <= 4_096 && !told.chars().any(char::is_control), "{told:?}");
            }
        }
    }
}

/// A list of revoked keys or a KRL. A key that stands in a list is revoked by it.
pub fn revoked_keys(bytes: &[u8]) {
    let Ok(revoked) = RevokedKeys::parse(bytes) else { return };
    if bytes.starts_with(b"SSHKRL\n\0") {
        return;
    }
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().starts_with(b"#")) {
        let key = str::from_utf8(line).ok().and_then(|line| line.trim_ascii().parse::<PublicKey>().ok());
        assert!(key.is_none_or(|key| revoked.contains(&key)));
    }
}

/// A signature in each of its forms, and a key as signatures hold it: what was read is written the same, and read again.
pub fn signatures(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(bytes) {
        assert_eq!(key.blob(), bytes);
        assert_eq!(key.to_string().parse::<PublicKey>().as_ref().map(PublicKey::blob), Ok(bytes));
    }
    if let Ok(signature) = Signature::from_base64(&Base64::encode_string(bytes)) {
        assert_eq!(signature.to_base64(), Base64::encode_string(bytes));
        round(&signature);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    for read in [Signature::from_armor(text), Signature::from_base64(text)] {
        read.iter().for_each(round);
    }
}

fn round(signature: &Signature) {
    let armored = Signature::from_armor(&signature.to_armor()).expect("it was written so");
    assert_eq!(armored.to_base64(), signature.to_base64());
    let verified = signature.verify(signature.namespace(), b"a text that nobody signed");
    assert!(verified.is_err(), "nobody signed that");
}

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 3_000);
}
