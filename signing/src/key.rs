use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg};

use crate::wire::Wire;

/// A public key of SSH, never a certificate. There is one blob (RFC 4253, section 6.6) for each key: equal keys have equal
/// blobs and equal fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    blob: Vec<u8>,
    parsed: ssh_key::PublicKey,
}

/// Why bytes are no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Something of `type base64` is not there.
    #[error("it is no public key: `type base64` is wanted, as in a file that ends in .pub")]
    Incomplete,
    /// Longer than any key.
    #[error("it is longer than any public key")]
    TooLong,
    /// A certificate of this type.
    #[error("certificates ({0:?}) are not supported: name the plain key")]
    Certificate(String),
    /// A type that is not known here.
    #[error("keys of type {0:?} are not supported: use Ed25519, ECDSA, their sk- forms, or RSA")]
    UnknownType(String),
    /// The type before the base64 is not the one within.
    #[error("it says that it is {named}, and holds a key of type {held}")]
    TypeDiffers {
        /// Before the base64.
        named: String,
        /// Within it.
        held: String,
    },
    /// Not what its type says.
    #[error("the key is damaged: copy it again from the file that ends in .pub")]
    Broken,
}

/// A blob of RSA with 16,384 bits is a quarter of it.
const MAX_BLOB: usize = 8 << 10;
/// More of a word that nobody knows is not shown.
const SHOWN: usize = 64;

impl PublicKey {
    /// Reads a blob.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        if blob.len() > MAX_BLOB {
            return Err(KeyError::TooLong);
        }
        check_type(Wire(blob).text().ok_or(KeyError::Broken)?)?;
        let parsed = ssh_key::PublicKey::from_bytes(blob).map_err(|_| KeyError::Broken)?;
        // OpenSSH knows no other form either, and revocation goes by blob.
        let is_canonical = parsed.to_bytes().is_ok_and(|written| written == blob);
        if !is_canonical || has_compressed_point(parsed.key_data()) {
            return Err(KeyError::Broken);
        }
        Ok(PublicKey { blob: blob.to_vec(), parsed })
    }

    /// As agents, signatures and lists of revoked keys hold it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its type as OpenSSH names it: `ssh-ed25519`.
    pub fn type_name(&self) -> String {
        self.parsed.algorithm().to_string()
    }

    /// `SHA256:...`, as ssh-keygen and agents print it.
    pub fn fingerprint(&self) -> String {
        self.parsed.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Why nothing that it signed is believed; `None` where it is strong.
    pub fn weakness(&self) -> Option<&'static str> {
        match self.parsed.key_data() {
            KeyData::Dsa(_) => Some("keys of type ssh-dss can be broken"),
            KeyData::Rsa(key) => match key.n.as_positive_bytes().map_or(0, bits) {
                0..2048 => Some("RSA keys of less than 2048 bits can be broken"),
                2048..=8192 => None,
                _ => Some("RSA keys of more than 8192 bits are not supported"),
            },
            _ => None,
        }
    }

    pub(crate) fn parsed(&self) -> &ssh_key::PublicKey {
        &self.parsed
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// `type base64`, and after it a comment that is not kept.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut words = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        let (Some(named), Some(data)) = (words.next(), words.next()) else {
            return Err(KeyError::Incomplete);
        };
        check_type(named)?;
        if data.len() > MAX_BLOB * 2 {
            return Err(KeyError::TooLong);
        }
        let blob = Base64::decode_vec(data).map_err(|_| KeyError::Broken)?;
        let key = Self::from_blob(&blob)?;
        let held = key.type_name();
        if held == named { Ok(key) } else { Err(KeyError::TypeDiffers { named: named.to_owned(), held }) }
    }
}

impl fmt::Display for PublicKey {
    /// `type base64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.type_name(), Base64::encode_string(&self.blob))
    }
}

/// Whether a word is the type of a key or of a certificate that OpenSSH has.
pub(crate) fn is_type(word: &str) -> bool {
    !matches!(check_type(word), Err(KeyError::UnknownType(_)))
}

fn check_type(name: &str) -> Result<(), KeyError> {
    let shown = || name.chars().take(SHOWN).collect();
    if name.ends_with("-cert-v01@openssh.com") {
        return Err(KeyError::Certificate(shown()));
    }
    match Algorithm::new(name) {
        // With a hash it is the type of a signature.
        Ok(Algorithm::Other(_) | Algorithm::Rsa { hash: Some(_) }) | Err(_) => {
            Err(KeyError::UnknownType(shown()))
        }
        Ok(_) => Ok(()),
    }
}

/// The first byte of a point in full is 4 (SEC 1, section 2.3.3).
fn has_compressed_point(key: &KeyData) -> bool {
    let point = match key {
        KeyData::Ecdsa(key) => EcdsaPublicKey::as_sec1_bytes(key),
        KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes(),
        _ => return false,
    };
    point.first() != Some(&4)
}

fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0))
}
