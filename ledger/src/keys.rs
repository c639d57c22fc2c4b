use std::fmt;

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

/// The keys of a host that are believed: the one it signs with, and those it had before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostKeys(Vec<PublicKey>);

/// A line that holds no key of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}: a line is `ssh-ed25519 KEY COMMENT`, or `NAME ssh-ed25519 KEY COMMENT`")]
pub struct KeyLineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Why a signature vouches for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not what `ssh-keygen -Y sign` makes, or not in the one form in which it is written.
    #[error("its signature is damaged")]
    Garbage,
    /// It may be sound, but is not by a key of this host.
    #[error("it is signed by {0}, which is none of this host's keys")]
    UnknownKey(String),
    /// It is by a key of this host over something else.
    #[error("its signature is not of this text: one of both was changed")]
    Forged,
    /// Whoever has a key that the host gave up could go on with it, and whoever has a new one write anew what is older.
    #[error("it is signed by {0}, which was not this host's key then: the list of its keys is oldest first")]
    OutOfTurn(String),
}

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// As ssh-keygen folds it.
const COLUMNS: usize = 70;
/// Hosts do not have that many.
const MAX_KEYS: usize = 1024;

impl HostKeys {
    /// Reads `.pub` files, `#` comments, and lines of `allowed_signers` that have no options.
    pub fn parse(text: &str) -> Result<Self, KeyLineError> {
        let mut keys = HostKeys::default();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what| KeyLineError { line: place + 1, what };
            let key = key(line).ok_or_else(|| wrong("no key that could be read"))?;
            if key.algorithm() != Algorithm::Ed25519 {
                return Err(wrong("a key of another type than ssh-ed25519"));
            }
            keys.add(key);
            if keys.0.len() > MAX_KEYS {
                return Err(wrong("more than 1024 keys"));
            }
        }
        Ok(keys)
    }

    /// True when nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `SHA256:…` of each, oldest first.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(fingerprint)
    }

    /// Gives the key's fingerprint where a believed key signed this message in this namespace. The signature is that of
    /// `ssh-keygen -Y sign`, as base64 on one line.
    pub fn verify(&self, namespace: &str, message: &[u8], signature: &str) -> Result<String, Distrust> {
        let signature = unfold(signature).ok_or(Distrust::Garbage)?;
        let key = PublicKey::from(signature.public_key().clone());
        if !self.contains(&key) {
            return Err(Distrust::UnknownKey(fingerprint(&key)));
        }
        key.verify(namespace, message, &signature).map_err(|_| Distrust::Forged)?;
        Ok(fingerprint(&key))
    }

    /// Whether both are believed, and the one is older than the other.
    pub(crate) fn is_older(&self, one: &str, than: &str) -> bool {
        let place = |wanted: &str| self.fingerprints().position(|known| known == wanted);
        matches!((place(one), place(than)), (Some(one), Some(than)) if one < than)
    }

    pub(crate) fn contains(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|known| known.key_data() == key.key_data())
    }

    pub(crate) fn add(&mut self, key: PublicKey) {
        if !self.contains(&key) {
            self.0.push(key);
        }
    }
}

/// One a line, as a `.pub` file has them.
impl fmt::Display for HostKeys {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.0 {
            writeln!(to, "{}", key.to_openssh().map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// With what stands before it, at most one word.
fn key(line: &str) -> Option<PublicKey> {
    let bare = |line: &str| PublicKey::from_openssh(line).ok();
    bare(line).or_else(|| bare(line.split_once([' ', '\t'])?.1.trim_start()))
}

pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// As base64 on one line.
pub(crate) fn sign(key: &PrivateKey, namespace: &str, message: &[u8]) -> Result<String, ssh_key::Error> {
    Ok(fold_away(&armor(key, namespace, message)?))
}

/// As ssh-keygen prints it.
pub(crate) fn armor(key: &PrivateKey, namespace: &str, message: &[u8]) -> Result<String, ssh_key::Error> {
    key.sign(namespace, HashAlg::Sha512, message)?.to_pem(LineEnding::LF)
}

/// What stands between the first and the last line.
fn fold_away(armor: &str) -> String {
    armor.lines().filter(|line| !line.starts_with('-')).collect()
}

/// What [`fold_away`] takes off.
fn wrap(signature: &str) -> Option<String> {
    // All that there are have 248.
    if signature.len() > 4096 || !signature.is_ascii() {
        return None;
    }
    let mut armor = format!("{BEGIN}\n");
    for line in signature.as_bytes().chunks(COLUMNS) {
        armor.push_str(std::str::from_utf8(line).ok()?);
        armor.push('\n');
    }
    armor.push_str(END);
    armor.push('\n');
    Some(armor)
}

/// As base64 on one line. `None` where ssh-keygen would have written it otherwise: no byte of it may be changed unseen.
pub(crate) fn disarm(armor: &[u8]) -> Option<String> {
    let signature = fold_away(std::str::from_utf8(armor).ok()?);
    (wrap(&signature)?.as_bytes() == armor).then_some(signature)
}

/// `None` where the same signature would be written otherwise: no byte of it may be changed unseen.
fn unfold(signature: &str) -> Option<SshSig> {
    let parsed = SshSig::from_pem(wrap(signature)?).ok()?;
    // ssh-keygen takes a version 0 as well.
    let is_one_form =
        parsed.version() == SshSig::VERSION && fold_away(&parsed.to_pem(LineEnding::LF).ok()?) == signature;
    is_one_form.then_some(parsed)
}
