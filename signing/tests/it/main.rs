//! Held against OpenSSH: what its tools make we take, what we make they take, and what they refuse we refuse.
// What the tests call fails as they do; clippy knows only the functions that are marked as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agents;
mod allowing;
mod hostile;
mod key_files;
mod revoking;
mod security_key;
mod verifying;
mod world;
