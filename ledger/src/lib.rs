//! Logs as JSON lines, in which each record carries the hash of the one before and the host signs.
//!
//! What a record says is its writer's matter; this crate keeps records in order, whole, and provable. A log is a file
//! `NAME.jsonl` in a folder, with older segments beside it: `NAME.jsonl.<number of its first record>`. A line is a JSON
//! object: the writer's fields, then, always last, what the chain adds:
//!
//! ```text
//! {"event":"open","record":42,"previous":"<SHA-256 of the line before>","signature":"<SSHSIG, base64 on one line>"}
//! ```
//!
//! `record` counts from 1 without holes; the hash is of the whole line without its newline, and 64 zeros in record 1. What
//! is appended at once is a batch; its last record is signed and vouches for all before it. What follows the last signed
//! record was never acknowledged: the next [`Writer`] cuts it off.
//!
//! # By hand
//!
//! The signature is one of `ssh-keygen -Y sign`, namespace `log@portledger`, over the line without it. For record 42:
//!
//! ```text
//! line=$(grep '"record":42,' NAME.jsonl)
//! printf '%s}' "${line%,\"signature\":*}" > message
//! { echo '-----BEGIN SSH SIGNATURE-----'
//!   printf '%s' "$line" | sed 's/.*"signature":"//; s/"}$//' | fold -w 70; echo
//!   echo '-----END SSH SIGNATURE-----'; } > message.sig
//! sed 's/^/host /' NAME.key.pub > signers
//! ssh-keygen -Y verify -f signers -I host -n log@portledger -s message.sig < message
//! printf '%s' "$line" | sha256sum    # "previous" of record 43
//! ```
#![forbid(unsafe_code)]

mod act;
pub mod bundle;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod head;
mod host_key;
mod keys;
mod line;
mod reader;
mod scan;
mod seams;
mod tail;
mod verify;
mod writer;

pub use act::{Act, ActKind, FileChange, Who};
pub use error::{LineNumber, LogError};
pub use files::{Stranger, segments, strangers};
pub use head::{Head, LineHash, head};
pub use host_key::{HostKey, KeyError};
pub use keys::{Distrust, HostKeys, KeyLineError};
pub use line::{MAX_BODY, MAX_LINE};
pub use reader::{Line, Position, Reader, Told, last};
pub use seams::verify_acts;
pub use tail::begins_with_record;
pub use verify::{Broken, KeyUse, Unverified, Verified, Why, verify};
pub use writer::{Keeping, Writer};
