mod raw;

use base64ct::{Base64, Encoding};
use ssh_key::{HashAlg, SshSig};

use crate::wire::{Wire, put_string};
use crate::{KeyError, PublicKey};

/// A signature over a text, as `ssh-keygen -Y sign` makes it (OpenSSH's PROTOCOL.sshsig).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// As it came: what is written again is what was read.
    blob: Vec<u8>,
    key: PublicKey,
    parsed: SshSig,
}

/// Why a signature is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Longer than any signature.
    #[error("the signature is longer than {MAX_TEXT} characters, which none is")]
    TooLong,
    /// No SSHSIG.
    #[error("it is no SSH signature: {0}")]
    Garbage(&'static str),
    /// Its key cannot be used.
    #[error("the key in the signature cannot be used: {0}")]
    Key(#[from] KeyError),
    /// Its key could have been broken by anybody.
    #[error("the signature by {key} is not believed: {why}")]
    Weak {
        /// The key's fingerprint.
        key: String,
        /// A sentence.
        why: &'static str,
    },
    /// The text was hashed by something else than SHA-256 or SHA-512.
    #[error("the signature was made with the hash {0:?}; only sha256 and sha512 are believed")]
    Hash(String),
    /// RSA with SHA-1.
    #[error("the RSA signature was made with SHA-1, which can be forged: sign again with a newer OpenSSH")]
    Sha1,
    /// It was made for another purpose.
    #[error("the signature was made for {found:?}, not for {wanted:?}")]
    Namespace {
        /// What it says.
        found: String,
        /// What it had to say.
        wanted: String,
    },
    /// A security key signed, and nobody touched it.
    #[error("the security key {0} signed without being touched: sign again with a key that demands it")]
    Untouched(String),
    /// It says nothing about this text.
    #[error("the signature by {0} is not one of this text: the text was changed, or another one was signed")]
    OfAnotherText(String),
}

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// ssh-keygen's.
const COLUMNS: usize = 70;
/// In characters. The longest there are, of RSA with 16,384 bits, are a third of it.
const MAX_TEXT: usize = 16 << 10;
/// More of a word that a stranger chose is not shown.
const SHOWN: usize = 64;

impl Signature {
    /// Reads one line of base64.
    pub fn from_base64(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_TEXT {
            return Err(SignatureError::TooLong);
        }
        let blob = Base64::decode_vec(text).map_err(|_| SignatureError::Garbage("it is no base64"))?;
        Self::from_blob(blob)
    }

    /// Reads what ssh-keygen writes to a file that ends in .sig. White space around it is of no matter.
    pub fn from_armor(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_TEXT {
            return Err(SignatureError::TooLong);
        }
        let garbage = SignatureError::Garbage;
        let framed = text.trim_ascii().strip_prefix(BEGIN);
        let framed = framed.ok_or(garbage("its first line is not that of one"))?;
        let lines = framed.strip_suffix(END).ok_or(garbage("its last line is not that of one"))?;
        Self::from_base64(&lines.split_ascii_whitespace().collect::<String>())
    }

    /// One line of base64.
    pub fn to_base64(&self) -> String {
        Base64::encode_string(&self.blob)
    }

    /// As ssh-keygen writes it.
    pub fn to_armor(&self) -> String {
        let mut armor = format!("{BEGIN}\n");
        let mut column = 0;
        for character in self.to_base64().chars() {
            if column == COLUMNS {
                armor.push('\n');
                column = 0;
            }
            armor.push(character);
            column += 1;
        }
        armor + "\n" + END + "\n"
    }

    /// Who says to have signed. Only [`Signature::verify`] proves it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What it says to be for.
    pub fn namespace(&self) -> &str {
        self.parsed.namespace()
    }

    /// Whether its key signed this text for this purpose. Whether that key may is for
    /// [`AllowedSigners`](crate::AllowedSigners) to say.
    pub fn verify(&self, namespace: &str, message: &[u8]) -> Result<(), SignatureError> {
        if self.namespace() != namespace {
            let found = self.namespace().chars().take(SHOWN).collect();
            let wanted = namespace.to_owned();
            return Err(SignatureError::Namespace { found, wanted });
        }
        if let Some(why) = self.key.weakness() {
            return Err(SignatureError::Weak { key: self.key.fingerprint(), why });
        }
        if !raw::is_by(&self.key, &self.parsed, message) {
            return Err(SignatureError::OfAnotherText(self.key.fingerprint()));
        }
        if raw::is_untouched(self.parsed.signature()) {
            return Err(SignatureError::Untouched(self.key.fingerprint()));
        }
        Ok(())
    }

    /// What a key made of [`Signature::bytes_to_sign`], as an agent tells it.
    pub(crate) fn of_raw(key: &PublicKey, namespace: &str, raw: &[u8]) -> Result<Self, SignatureError> {
        let mut blob = MAGIC.to_vec();
        blob.extend(VERSION.to_be_bytes());
        for part in [key.blob(), namespace.as_bytes(), b"", b"sha512", raw] {
            put_string(&mut blob, part);
        }
        Self::from_blob(blob)
    }

    /// What a key signs for a text. `None` where the namespace is empty.
    pub(crate) fn bytes_to_sign(namespace: &str, message: &[u8]) -> Option<Vec<u8>> {
        SshSig::signed_data(namespace, HashAlg::Sha512, message).ok()
    }

    fn from_blob(blob: Vec<u8>) -> Result<Self, SignatureError> {
        let ends = SignatureError::Garbage("it ends early");
        let mut wire = Wire(&blob);
        // The version is not signed: another one than the one there is would be a second form of the same signature.
        if wire.take(MAGIC.len()) != Some(MAGIC) || wire.uint32() != Some(VERSION) {
            return Err(SignatureError::Garbage("it does not begin as version 1 of one does"));
        }
        let key = PublicKey::from_blob(wire.string().ok_or(ends.clone())?)?;
        let namespace = wire.text().ok_or(SignatureError::Garbage("its namespace is no text"))?;
        let reserved = wire.string().ok_or(ends.clone())?;
        let hash = wire.text().ok_or(ends.clone())?;
        let raw = wire.string().ok_or(ends)?;
        if !wire.is_empty() || !reserved.is_empty() {
            return Err(SignatureError::Garbage("it holds more than a signature does"));
        }
        let hash = match hash {
            "sha256" => HashAlg::Sha256,
            "sha512" => HashAlg::Sha512,
            other => return Err(SignatureError::Hash(other.chars().take(SHOWN).collect())),
        };
        let raw = raw::parse(raw, &key)?;
        let parsed = SshSig::new(key.parsed().key_data().clone(), namespace, hash, raw);
        let parsed =
            parsed.map_err(|_| SignatureError::Garbage("it is for nothing: its namespace is empty"))?;
        Ok(Signature { blob, key, parsed })
    }
}
