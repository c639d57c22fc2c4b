use std::collections::HashSet;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::wire::Wire;
use crate::{KeyError, PublicKey};

/// Keys that are trusted no more: what `ssh-keygen -Y verify -r` reads, a list of public keys or a KRL.
#[derive(Clone, Debug, Default)]
pub struct RevokedKeys {
    blobs: HashSet<Vec<u8>>,
    /// Hashes of blobs, by SHA-1 and by SHA-256: their lengths tell them apart.
    hashes: HashSet<Vec<u8>>,
}

/// Why a file of revoked keys is not used. Nobody can tell then which keys are good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokedError {
    /// It is too large.
    #[error("the revoked keys are larger than {MAX_FILE} bytes")]
    TooLarge,
    /// A line of the list is no key.
    #[error("line {line} of the revoked keys: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: KeyError,
    },
    /// A line of the list is no text.
    #[error("line {0} of the revoked keys is no UTF-8")]
    NotUtf8(usize),
    /// The KRL is not whole.
    #[error("the KRL is damaged: {0}; make it again with `ssh-keygen -k`")]
    Broken(&'static str),
    /// It was written for another version of the format.
    #[error("the KRL is of version {0} of its format, and only version 1 is known")]
    Version(u32),
    /// What this section revokes is not known.
    #[error("the KRL has a section of type {0}, which is not known: what it revokes cannot be told")]
    Section(u8),
    /// Whoever does not know the extension must not use the KRL.
    #[error("the KRL has the critical extension {0:?}, which is not known")]
    Extension(String),
}

/// In bytes: about 200,000 keys.
const MAX_FILE: usize = 16 << 20;
const MAGIC: &[u8] = b"SSHKRL\n\0";
const VERSION: u32 = 1;
/// The version of the list, when it was made, and flags.
const HEADER: usize = 3 * 8;

impl RevokedKeys {
    /// Reads a KRL (OpenSSH's PROTOCOL.krl) where it begins as one, else `type base64 [comment]` on each line.
    pub fn parse(file: &[u8]) -> Result<Self, RevokedError> {
        if file.len() > MAX_FILE {
            return Err(RevokedError::TooLarge);
        }
        match file.strip_prefix(MAGIC) {
            Some(krl) => Self::parse_krl(Wire(krl)),
            None => Self::parse_list(file),
        }
    }

    /// Whether a key is one of them.
    pub fn contains(&self, key: &PublicKey) -> bool {
        let has_hash = |algorithm| self.hashes.contains(digest(algorithm, key.blob()).as_ref());
        self.blobs.contains(key.blob()) || has_hash(&SHA1_FOR_LEGACY_USE_ONLY) || has_hash(&SHA256)
    }

    fn parse_list(file: &[u8]) -> Result<Self, RevokedError> {
        let mut revoked = RevokedKeys::default();
        for (number, bytes) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let bytes = bytes.trim_ascii();
            if bytes.is_empty() || bytes.starts_with(b"#") {
                continue;
            }
            let text = std::str::from_utf8(bytes).map_err(|_| RevokedError::NotUtf8(number))?;
            let key: PublicKey = text.parse().map_err(|why| RevokedError::Line { line: number, why })?;
            revoked.blobs.insert(key.blob().to_vec());
        }
        Ok(revoked)
    }

    fn parse_krl(mut krl: Wire<'_>) -> Result<Self, RevokedError> {
        let ends = RevokedError::Broken("it ends early");
        let version = krl.uint32().ok_or(ends.clone())?;
        if version != VERSION {
            return Err(RevokedError::Version(version));
        }
        let reserved_and_comment = krl.take(HEADER).and_then(|_| krl.string()).and_then(|_| krl.string());
        reserved_and_comment.ok_or(ends.clone())?;
        let mut revoked = RevokedKeys::default();
        while !krl.is_empty() {
            let kind = krl.byte().ok_or(ends.clone())?;
            let section = krl.string().ok_or(ends.clone())?;
            match kind {
                // Of certificates, none of which is believed.
                1 => {}
                2 => gather(section, None, &mut revoked.blobs)?,
                3 => gather(section, Some(20), &mut revoked.hashes)?,
                // The section is the key that signed; OpenSSH does not verify it either.
                4 => drop(krl.string().ok_or(ends.clone())?),
                5 => gather(section, Some(32), &mut revoked.hashes)?,
                255 => check_extension(section)?,
                other => return Err(RevokedError::Section(other)),
            }
        }
        Ok(revoked)
    }
}

fn gather(section: &[u8], length: Option<usize>, into: &mut HashSet<Vec<u8>>) -> Result<(), RevokedError> {
    let mut wire = Wire(section);
    while !wire.is_empty() {
        let entry = wire.string().ok_or(RevokedError::Broken("a section ends early"))?;
        if length.is_some_and(|length| entry.len() != length) {
            return Err(RevokedError::Broken("a hash is not as long as its kind"));
        }
        into.insert(entry.to_vec());
    }
    Ok(())
}

/// Name, whether it is critical, value.
fn check_extension(section: &[u8]) -> Result<(), RevokedError> {
    let mut wire = Wire(section);
    let parts = (wire.text(), wire.byte(), wire.string());
    match parts {
        (Some(_), Some(0), Some(_)) if wire.is_empty() => Ok(()),
        (Some(name), Some(_), Some(_)) if wire.is_empty() => {
            Err(RevokedError::Extension(name.chars().take(64).collect()))
        }
        _ => Err(RevokedError::Broken("an extension is not whole")),
    }
}
