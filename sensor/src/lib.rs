//! Effects in: from the kernel to an [`inventory::Inventory`].
//!
//! [`Sensor::pass`] looks once; [`run`] looks at an interval and tells what it sees in frames. What could not be seen
//! is part of what is told: nothing here turns an error into emptiness.

mod addresses;
mod assemble;
mod bpf;
mod collector;
mod confined;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod happening;
mod holders;
mod interfaces;
mod joined;
mod manager;
mod namespaces;
mod naming;
mod pass;
mod portable;
mod privileges;
mod proc_net;
mod process;
mod protocols;
mod published;
mod reach;
mod readers;
mod run;
mod second_opinion;
mod sock_diag;
mod sys;
mod telling;
#[cfg(test)]
mod testing;
mod watcher;
mod workload;

pub use bpf::{Bpf, LoadError, Loader, Wanted, load};
pub use confined::{confine_keeper, confine_loader};
pub use events::source::{EventReport, HookState, UNTOLD, event_report};
pub use pass::{Options, Sensor, kernel_protocols};
pub use privileges::{Privilege, privileges};
pub use process::Hashing;
pub use readers::{NoReaders, Readers};
pub use run::{Output, RunError, Timing, run};
pub use second_opinion::{Disagreement, NoSecondOpinion, second_opinion};
pub use sys::close_inherited;
