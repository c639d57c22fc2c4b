//! Which processes have a socket open.
//!
//! The kernel keeps no way from a socket to its holders: only the descriptors of every process, looked at one by one,
//! tell them. So what was found once is remembered and verified, and only what is new is searched for.

mod attribution;
mod gaps;
mod memory;
mod ring;
mod schedule;
mod told;
mod walk;

pub(crate) use attribution::Attribution;
pub(crate) use memory::Memory;
#[cfg(any(test, fuzzing))]
pub use ring::fuzzed;
pub(crate) use walk::{Hold, Place, Sightings};

#[cfg(test)]
mod tests;
