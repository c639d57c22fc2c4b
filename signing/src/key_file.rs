use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use ssh_key::PrivateKey;
use ssh_key::private::KeypairData;
use zeroize::Zeroizing;

use crate::{KeyError, PublicKey};

/// What a file of ~/.ssh holds.
#[derive(Debug)]
pub(crate) enum KeyFile {
    Public(PublicKey),
    /// With its public half, which no passphrase hides.
    Private(PublicKey, Box<PrivateKey>),
}

/// Why a key file cannot be signed with.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A pipe, a folder, a device.
    #[error("it is no regular file")]
    NotAFile,
    /// Longer than any key.
    #[error("it is larger than {MAX_FILE} bytes, which no key is")]
    TooLarge,
    /// It is ours, and not ours alone.
    #[error(
        "others may read it (mode {mode:04o}), so it is no secret: `chmod go= FILE`, and think of another key"
    )]
    OpenToOthers {
        /// Its permissions.
        mode: u32,
    },
    /// No public key.
    #[error("it holds no key: {0}")]
    NoKey(#[from] KeyError),
    /// In the form of OpenSSL.
    #[error(
        "it is in an old form: `ssh-keygen -p -f FILE` writes it anew, or `ssh-add FILE` gives it to the agent"
    )]
    OldForm,
    /// The library cannot read it; some keys of ECDSA are among these.
    #[error("it cannot be read here ({0}): `ssh-add FILE` gives it to the agent, which signs")]
    Unreadable(ssh_key::Error),
    /// A type that only agents sign with.
    #[error("keys of type {0} are signed with by the agent alone: `ssh-add FILE` gives it the key")]
    AgentAlone(String),
    /// Nobody told the passphrase.
    #[error("its passphrase cannot be asked for: {0}; `ssh-add FILE` gives it to the agent")]
    NoPassphrase(#[source] io::Error),
    /// Not even the last of these times.
    #[error("the passphrase was wrong {TRIES} times")]
    WrongPassphrase,
    /// It is not the private half of the public key that was named.
    #[error("it is not the private half of that key")]
    Differs,
}

/// In bytes. RSA with 16,384 bits takes 13 KiB.
const MAX_FILE: u64 = 64 << 10;
/// ssh's.
const TRIES: usize = 3;

impl KeyFile {
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        // Not to hang on a pipe that somebody put there.
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let bytes = read_bounded(&file)?;
        let text = String::from_utf8_lossy(&bytes);
        let Some(form) = text.trim_ascii_start().strip_prefix("-----BEGIN ") else {
            return Ok(KeyFile::Public(text.parse()?));
        };
        check_mode(&file)?;
        if !form.starts_with("OPENSSH PRIVATE KEY-----") {
            return Err(KeyFileError::OldForm);
        }
        let private = PrivateKey::from_openssh(&*bytes).map_err(KeyFileError::Unreadable)?;
        let blob = private.public_key().to_bytes().map_err(KeyFileError::Unreadable)?;
        Ok(KeyFile::Private(PublicKey::from_blob(&blob)?, Box::new(private)))
    }

    pub(crate) fn public(&self) -> &PublicKey {
        match self {
            KeyFile::Public(key) | KeyFile::Private(key, _) => key,
        }
    }
}

/// Makes a private key one that signs, with as few questions as possible.
pub(crate) fn unlock(
    key: &PublicKey,
    private: PrivateKey,
    mut passphrase: impl FnMut() -> io::Result<String>,
) -> Result<PrivateKey, KeyFileError> {
    // The library signs with these alone.
    if !key.type_name().starts_with("ecdsa-") && key.type_name() != "ssh-ed25519" {
        return Err(KeyFileError::AgentAlone(key.type_name()));
    }
    if !matches!(private.key_data(), KeypairData::Encrypted(_)) {
        return Ok(private);
    }
    for _ in 0..TRIES {
        let told = Zeroizing::new(passphrase().map_err(KeyFileError::NoPassphrase)?);
        match private.decrypt(told.as_bytes()) {
            // Of a wrong passphrase the check fails, or with authenticated ciphers the tag.
            Err(ssh_key::Error::Crypto) => {}
            opened => return opened.map_err(KeyFileError::Unreadable),
        }
    }
    Err(KeyFileError::WrongPassphrase)
}

fn read_bounded(file: &File) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    if !file.metadata()?.is_file() {
        return Err(KeyFileError::NotAFile);
    }
    // With room for all of it from the beginning no copy of a secret is left behind.
    let capacity = usize::try_from(MAX_FILE + 1).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE { Err(KeyFileError::TooLarge) } else { Ok(bytes) }
}

/// As ssh has it: of what belongs to somebody else it is the owner's affair.
fn check_mode(file: &File) -> Result<(), KeyFileError> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    let is_ours = metadata.uid() == rustix::process::getuid().as_raw();
    if is_ours && mode & 0o077 != 0 { Err(KeyFileError::OpenToOthers { mode }) } else { Ok(()) }
}
