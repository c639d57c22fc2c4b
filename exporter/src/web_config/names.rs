//! Cipher suites and curves by Go's names, and which of them there are here.

use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite, kx_group};
use serde::de::{Deserialize, Deserializer, Error};

/// A cipher suite that Go holds secure (`crypto/tls.CipherSuites`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    /// `None` for those in CBC mode, which rustls left out for their history of padding oracles.
    pub(super) here: Option<SupportedCipherSuite>,
}

/// A group of the key exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    /// `None` for the one that ring does not have.
    pub(super) here: Option<&'static dyn SupportedKxGroup>,
}

const SUITES: [Suite; 13] = [
    here("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    here("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    here("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    here("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    here("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    here("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    here("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    here(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    here(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    Suite { name: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", here: None },
    Suite { name: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", here: None },
    Suite { name: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", here: None },
    Suite { name: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", here: None },
];

const CURVES: [Curve; 4] = [
    Curve { name: "X25519", here: Some(kx_group::X25519) },
    Curve { name: "CurveP256", here: Some(kx_group::SECP256R1) },
    Curve { name: "CurveP384", here: Some(kx_group::SECP384R1) },
    Curve { name: "CurveP521", here: None },
];

const fn here(name: &'static str, suite: SupportedCipherSuite) -> Suite {
    Suite { name, here: Some(suite) }
}

impl<'de> Deserialize<'de> for Suite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = SUITES.into_iter().find(|suite| suite.name == name);
        known.ok_or_else(|| unknown("cipher suite", &name, SUITES.map(|suite| suite.name)))
    }
}

impl<'de> Deserialize<'de> for Curve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = CURVES.into_iter().find(|curve| curve.name == name);
        known.ok_or_else(|| unknown("curve", &name, CURVES.map(|curve| curve.name)))
    }
}

fn unknown<E: Error, const N: usize>(what: &str, name: &str, names: [&str; N]) -> E {
    E::custom(format_args!("unknown {what} `{}`, choose among {}", name.escape_debug(), names.join(", ")))
}
