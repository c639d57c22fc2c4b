use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::ConfineError;

/// Something of which a process can only have so much: getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Open descriptors.
    Descriptors,
    /// Threads and processes of the same user, all over the machine.
    Threads,
    /// Bytes of addresses, used or not.
    Addresses,
}

/// No program that is executed from now on has more than this process: `PR_SET_NO_NEW_PRIVS`.
pub fn without_new_privileges() -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true).map_err(|errno| ConfineError::NoNewPrivileges(errno.into()))
}

/// What is in memory is written nowhere when the process crashes, nor by what it starts; with `hidden` nobody of the
/// same user reads it either (`PR_SET_DUMPABLE`), which holds until another program is executed.
pub fn without_dumps(hidden: bool) -> Result<(), ConfineError> {
    if hidden {
        done("not dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    }
    done("no core dumps", setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }))
}

/// Never more than `most`, nor more than was allowed before.
pub fn bound(what: Bound, most: u64) -> Result<(), ConfineError> {
    let (resource, step) = match what {
        Bound::Descriptors => (Resource::Nofile, "a bound on open files"),
        Bound::Threads => (Resource::Nproc, "a bound on threads"),
        Bound::Addresses => (Resource::As, "a bound on addresses"),
    };
    let before = getrlimit(resource);
    let lower = |allowed: Option<u64>| Some(allowed.map_or(most, |allowed| allowed.min(most)));
    done(step, setrlimit(resource, Rlimit { current: lower(before.current), maximum: lower(before.maximum) }))
}

pub(crate) fn done(step: &'static str, done: Result<(), Errno>) -> Result<(), ConfineError> {
    done.map_err(|errno| ConfineError::Step { step, error: errno.into() })
}
