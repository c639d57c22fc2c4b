//! SSH signatures (OpenSSH's PROTOCOL.sshsig): made by the keys that admins hold, held against `allowed_signers`.
//!
//! Deciding is pure: texts and times come in as values. Agents and key files stand in modules of their own.
#![forbid(unsafe_code)]

mod agent;
mod allowed_signers;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod key;
mod key_file;
mod revoked;
mod signature;
mod signer;
mod wire;

pub use agent::AgentError;
pub use allowed_signers::{AllowedSigners, Mistake, NotAllowed};
pub use key::{KeyError, PublicKey};
pub use key_file::KeyFileError;
pub use revoked::{RevokedError, RevokedKeys};
pub use signature::{Signature, SignatureError};
pub use signer::{NoSigner, SignError, Signer};
