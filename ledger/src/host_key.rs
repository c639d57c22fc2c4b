use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::error::{LogError, fail};
use crate::files;
use crate::keys::{self, HostKeys, KeyLineError};

/// The ed25519 key by which a host vouches for its logs: an OpenSSH private key file without a passphrase, mode 0600, and
/// beside it, as `….pub`, all public keys the host ever had, oldest first.
pub struct HostKey {
    key: PrivateKey,
    believed: HostKeys,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It stands wrongly, is not ours, or cannot be read or written.
    #[error(transparent)]
    File(#[from] LogError),
    /// Whoever reads it signs as this host.
    #[error(
        "{path} can be read by others (mode {mode:04o}): chmod 600 it if nobody did; else move it aside, and a new one is made"
    )]
    Open {
        /// The private key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key that this host can use.
    #[error("{path} is not an ed25519 private key without passphrase: move it aside, and a new one is made")]
    NoKey {
        /// The private key.
        path: PathBuf,
    },
    /// A line of the public keys is none.
    #[error("{path}: {error}: mend or remove that line")]
    Line {
        /// The public keys.
        path: PathBuf,
        /// Which line, and why.
        error: KeyLineError,
    },
    /// No key could be made.
    #[error("no key could be made: {0}")]
    Making(ssh_key::Error),
}

/// How long another process may take to make the key.
const WAIT: Duration = Duration::from_secs(5);
const MAX_FILE: u64 = 256 << 10;

impl HostKey {
    /// Reads the key; makes one where there is none. Of two that make it at once, both get the same.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let _lock = files::lock(&beside(path, "lock"), path, WAIT)?;
        let key = match read(path)? {
            Some((file, text)) => {
                let mode = files::meta(path, &file)?.mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::Open { path: path.to_owned(), mode });
                }
                parse(&text).ok_or_else(|| KeyError::NoKey { path: path.to_owned() })?
            }
            None => make(path)?,
        };
        let believed = believed(path, &key)?;
        Ok(HostKey { key, believed })
    }

    /// `SHA256:…`
    pub fn fingerprint(&self) -> String {
        keys::fingerprint(self.key.public_key())
    }

    /// Those of this host, this one among them.
    pub fn believed(&self) -> &HostKeys {
        &self.believed
    }

    /// The public half, as its `.pub` file has it, on one line.
    pub fn public_line(&self) -> Result<String, ssh_key::Error> {
        self.key.public_key().to_openssh()
    }

    /// The signature of `ssh-keygen -Y sign`, as base64 on one line.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<String, ssh_key::Error> {
        keys::sign(&self.key, namespace, message)
    }

    /// Likewise, as ssh-keygen prints it.
    pub fn sign_armored(&self, namespace: &str, message: &[u8]) -> Result<String, ssh_key::Error> {
        keys::armor(&self.key, namespace, message)
    }
}

impl HostKeys {
    /// Reads the public keys that stand in a file, whoever's it is.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = files::open_to_read(path)?;
        let file = file.ok_or_else(|| fail(path, "open")(io::ErrorKind::NotFound.into()))?;
        let wrong = |error| KeyError::Line { path: path.to_owned(), error };
        HostKeys::parse(&String::from_utf8_lossy(&text_of(path, &file)?)).map_err(wrong)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("HostKey").field(&self.fingerprint()).finish()
    }
}

fn parse(text: &[u8]) -> Option<PrivateKey> {
    let key = PrivateKey::from_openssh(text).ok()?;
    (key.algorithm() == Algorithm::Ed25519 && !key.is_encrypted()).then_some(key)
}

fn make(path: &Path) -> Result<PrivateKey, KeyError> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(KeyError::Making)?;
    key.set_comment("portledger");
    let text = key.to_openssh(LineEnding::LF).map_err(KeyError::Making)?;
    replace(path, text.as_bytes(), 0o600)?;
    Ok(key)
}

/// A key that is not among the public ones, since a kill came between, is added.
fn believed(path: &Path, key: &PrivateKey) -> Result<HostKeys, KeyError> {
    let path = with_suffix(path, "pub");
    let text = read(&path)?.map(|(_, text)| text).unwrap_or_default();
    let wrong = |error| KeyError::Line { path: path.clone(), error };
    let mut keys = HostKeys::parse(&String::from_utf8_lossy(&text)).map_err(wrong)?;
    if !keys.contains(key.public_key()) {
        keys.add(key.public_key().clone());
        replace(&path, keys.to_string().as_bytes(), 0o644)?;
    }
    Ok(keys)
}

/// Our own file whole; `None` where there is none.
fn read(path: &Path) -> Result<Option<(File, Vec<u8>)>, LogError> {
    let Some(file) = files::open_to_read(path)? else {
        return Ok(None);
    };
    files::check_ours(path, &files::meta(path, &file)?)?;
    let text = text_of(path, &file)?;
    Ok(Some((file, text)))
}

fn text_of(path: &Path, file: &File) -> Result<Vec<u8>, LogError> {
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(fail(path, "read"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(fail(path, "read")(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

/// Under the lock: what a killed one left is overwritten.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LogError> {
    let new = beside(path, "new");
    let fail = |error| fail(path, "write")(error);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new).map_err(fail)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // What is left would be overwritten the next time; the first error is the one to tell.
        return fs::remove_file(&new).and(Err(error)).map_err(fail);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// `.NAME.what` in the same folder.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(with_suffix(Path::new(&name), what))
}

fn with_suffix(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
