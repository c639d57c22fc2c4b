use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ssh_key::{HashAlg, LineEnding, PrivateKey};

use crate::agent::Agent;
use crate::key_file::{KeyFile, unlock};
use crate::{AgentError, KeyFileError, PublicKey, Signature, SignatureError};

/// A key that signs: one that an agent holds, or one from a file.
#[derive(Debug)]
pub struct Signer {
    key: PublicKey,
    hand: Hand,
}

#[derive(Debug)]
enum Hand {
    Agent(Agent),
    File(Box<PrivateKey>),
}

/// Why nobody is there to sign.
#[derive(Debug, thiserror::Error)]
pub enum NoSigner {
    /// No key was named, and no agent.
    #[error(
        "no SSH agent: SSH_AUTH_SOCK is not set; under sudo keep it with `sudo --preserve-env=SSH_AUTH_SOCK`, \
         else start one with `eval $(ssh-agent); ssh-add`, or name a key file"
    )]
    NoAgent,
    /// The agent did not tell its keys.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The agent has no key that can sign a text.
    #[error("the SSH agent holds no key that can sign a text: `ssh-add` gives it one")]
    EmptyAgent,
    /// It has, and none of them is wanted.
    #[error("none of the keys of the SSH agent may sign: {}; `ssh-add FILE` gives it another", Listed(.0))]
    NoneMay(Vec<PublicKey>),
    /// A key file was named, and nothing comes of it.
    #[error("{path:?}: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        why: KeyFileError,
    },
    /// The public half alone is there.
    #[error("the private half of {key} is neither in an SSH agent nor at {path:?}: `ssh-add` it ({agent})")]
    NoPrivateHalf {
        /// The fingerprint.
        key: String,
        /// Where it was looked for.
        path: PathBuf,
        /// How the agent fared.
        agent: String,
    },
}

/// Why a signature was not made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The agent did not make one.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The key from a file did not.
    #[error("the key cannot sign: {0}")]
    Key(#[from] ssh_key::Error),
    /// Something was made that nobody would believe.
    #[error("what {key} signed would not be believed: {why}")]
    NotBelieved {
        /// The fingerprint.
        key: String,
        /// Why.
        why: SignatureError,
    },
}

impl Signer {
    /// Finds a key. `wanted` is a private key file or a `.pub`: the agent is asked for it, then the file, or what stands
    /// beside it, is used; whether it may sign is not asked. Else it is the first key of the agent that `may_sign`.
    ///
    /// `agent` is the value of SSH_AUTH_SOCK. `passphrase` is asked where a file has one, up to three times.
    pub fn find(
        wanted: Option<&Path>,
        agent: Option<&Path>,
        may_sign: impl Fn(&PublicKey) -> bool,
        passphrase: impl FnMut(&Path) -> io::Result<String>,
    ) -> Result<Self, NoSigner> {
        let agent = agent.map(Agent::new);
        match wanted {
            Some(path) => find_wanted(path, agent, passphrase),
            None => find_in_agent(agent.ok_or(NoSigner::NoAgent)?, may_sign),
        }
    }

    /// Whose signatures it makes.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Signs a text for a purpose. What is returned was verified. With an agent this can take a minute, for a touch.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<Signature, SignError> {
        let believe = |why| SignError::NotBelieved { key: self.key.fingerprint(), why };
        let made = match &self.hand {
            Hand::Agent(agent) => {
                let bytes = Signature::bytes_to_sign(namespace, message).ok_or(ssh_key::Error::Namespace)?;
                Signature::of_raw(&self.key, namespace, &agent.sign(&self.key, &bytes)?)
            }
            Hand::File(private) => {
                let made = private.sign(namespace, HashAlg::Sha512, message)?;
                Signature::from_armor(&made.to_pem(LineEnding::LF)?)
            }
        };
        let signature = made.map_err(believe)?;
        signature.verify(namespace, message).map_err(believe)?;
        Ok(signature)
    }
}

fn find_in_agent(agent: Agent, may_sign: impl Fn(&PublicKey) -> bool) -> Result<Signer, NoSigner> {
    let keys = agent.keys()?;
    if keys.is_empty() {
        return Err(NoSigner::EmptyAgent);
    }
    match keys.iter().find(|key| key.weakness().is_none() && may_sign(key)) {
        Some(key) => Ok(Signer { key: key.clone(), hand: Hand::Agent(agent) }),
        None => Err(NoSigner::NoneMay(keys)),
    }
}

fn find_wanted(
    path: &Path,
    agent: Option<Agent>,
    mut passphrase: impl FnMut(&Path) -> io::Result<String>,
) -> Result<Signer, NoSigner> {
    let named = KeyFile::read(path);
    // What cannot be read here the agent may hold: its public half says which it is.
    let beside = || KeyFile::read(&with_pub(path)).map(|file| file.public().clone()).ok();
    let key = named.as_ref().map(|file| file.public().clone()).ok().or_else(beside);
    let listed = agent.as_ref().map(Agent::keys);
    if let (Some(key), Some(agent), Some(Ok(keys))) = (&key, agent, &listed)
        && keys.contains(key)
    {
        return Ok(Signer { key: key.clone(), hand: Hand::Agent(agent) });
    }
    let failed = |path: &Path, why| NoSigner::File { path: path.to_owned(), why };
    let (key, path) = match named.map_err(|why| failed(path, why))? {
        KeyFile::Private(key, private) => return open(path, key, *private, passphrase),
        KeyFile::Public(key) => (key, without_pub(path)),
    };
    match KeyFile::read(&path) {
        Ok(KeyFile::Private(held, private)) if held == key => open(&path, key, *private, &mut passphrase),
        Ok(KeyFile::Private(..)) => Err(failed(&path, KeyFileError::Differs)),
        Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(no_private_half(&key, path, listed))
        }
        Ok(KeyFile::Public(_)) => Err(no_private_half(&key, path, listed)),
        Err(why) => Err(failed(&path, why)),
    }
}

fn open(
    path: &Path,
    key: PublicKey,
    private: PrivateKey,
    mut passphrase: impl FnMut(&Path) -> io::Result<String>,
) -> Result<Signer, NoSigner> {
    let opened = unlock(&key, private, || passphrase(path));
    let opened = opened.map_err(|why| NoSigner::File { path: path.to_owned(), why })?;
    Ok(Signer { key, hand: Hand::File(Box::new(opened)) })
}

fn no_private_half(
    key: &PublicKey,
    path: PathBuf,
    listed: Option<Result<Vec<PublicKey>, AgentError>>,
) -> NoSigner {
    let agent = match listed {
        None => "SSH_AUTH_SOCK is not set; under sudo: `sudo --preserve-env=SSH_AUTH_SOCK`".to_owned(),
        Some(Err(why)) => why.to_string(),
        Some(Ok(keys)) => format!("the agent holds {}", Listed(&keys)),
    };
    NoSigner::NoPrivateHalf { key: key.fingerprint(), path, agent }
}

fn with_pub(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn without_pub(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "pub") {
        path.with_extension("")
    } else {
        path.to_owned()
    }
}

/// Fingerprints, no more than a person reads.
struct Listed<'a>(&'a [PublicKey]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown: Vec<String> = self.0.iter().take(SHOWN).map(PublicKey::fingerprint).collect();
        match self.0.len().saturating_sub(SHOWN) {
            0 if shown.is_empty() => f.write_str("none"),
            0 => f.write_str(&shown.join(", ")),
            more => write!(f, "{} and {more} more", shown.join(", ")),
        }
    }
}
