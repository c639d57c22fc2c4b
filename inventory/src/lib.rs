//! The vocabulary of Portledger: what a listener is, who holds it, who can reach it, and what could not be seen.
//!
//! Nothing here touches files, sockets, the clock or the environment. Every name that a process chose for itself
//! is a [`RawText`]: bytes from an attacker until they are escaped.
#![forbid(unsafe_code)]

mod changes;
mod coverage;
mod endpoint;
mod event;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod happening;
mod holder;
mod listener;
mod netns;
mod quoted;
mod raw_text;
mod reach;
mod workload;

pub use changes::Changes;
pub use coverage::{Coverage, EventSource, Gap, Scope, Share, Shares};
pub use endpoint::{Endpoint, Protocol, UnknownWord};
pub use event::{Discrepancies, Event};
pub use happening::Happening;
pub use holder::{Holder, Holders, Parent, ProcessId, Program, ProgramFile, Unattributed};
pub use listener::{Inventory, Listener, PortChoice, SocketId};
pub use netns::{NetNs, NetNsId, NetNsKind};
pub use quoted::{cut, quoted, quoted_list, quoted_list_within, quoted_within};
pub use raw_text::{RawText, is_seen};
pub use reach::Reach;
pub use workload::{Container, Runtime, Session, Workload};
