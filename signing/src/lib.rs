//! SSH signatures (OpenSSH's PROTOCOL.sshsig): made by the keys that admins hold, held against `allowed_signers`.
//!
//! Deciding is pure: texts and times come in as values. Agents and key files stand in modules of their own.
#![forbid(unsafe_code)]
