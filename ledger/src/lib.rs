//! Logs as JSON lines, in which each record carries the hash of the one before and the host signs.
//!
//! What a record says is its writer's matter; this crate keeps records in order, whole, and provable.
#![forbid(unsafe_code)]
