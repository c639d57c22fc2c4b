//! What a process gives up for good before it takes in what strangers write: system calls, files and ports, capabilities,
//! memory dumps. None of it can be taken back, nor by what runs in its place afterwards.
//!
//! What is given up is the calling thread's and that of threads it starts later: call all of it while there is one thread.
#![forbid(unsafe_code)]

mod calls;
mod capabilities;
mod files;
mod process;

pub use calls::{Argument, Calls, take_away};
pub use capabilities::{keep_capabilities, raise_capabilities};
pub use files::{Reach, kernel_offers, within};
pub use process::{Bound, bound, without_dumps, without_new_privileges};

/// What could not be put in force.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfineError {
    #[error("no_new_privs: {0}")]
    NoNewPrivileges(std::io::Error),
    #[error("a filter of system calls (seccomp): {0}")]
    Calls(String),
    #[error("a bound on files and ports (Landlock): {0}")]
    Files(String),
    #[error("{step}: {error}")]
    Step { step: &'static str, error: std::io::Error },
}
