use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

use crate::ConfineError;

mod table;

use table::{ABSENT, ANY_PROGRAM, FCNTL, FILES, NEVER, READING, SOCKETS};

/// What an argument of a call must be. Only the lower 32 bits count: no argument that is named here has more, and the
/// kernel ignores them where it reads an `int`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The argument at this place has this value.
    Is(u8, u32),
    /// So it has, of these bits.
    Has(u8, Bits),
}

/// The bits of `mask` are those of `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    mask: u32,
    value: u32,
}

impl Argument {
    /// At place `at`, of the bits of `mask` those of `value` and no other.
    pub fn has(at: u8, mask: u32, value: u32) -> Self {
        Argument::Has(at, Bits { mask, value })
    }
}

/// The system calls that a process may still make. Any other fails with `EPERM`, as what libraries try and do without; but
/// those of which only an intruder has any use, as to execute another program or to trace one, end the process: who tries
/// has no second try, and the end is seen.
#[derive(Clone, Debug)]
pub struct Calls {
    /// By number; each with ways to be called, any way where there are none.
    allowed: BTreeMap<c_long, Vec<Vec<Argument>>>,
}

impl Calls {
    /// What every program makes by its libraries: memory, threads of its own, signals to itself, time, open descriptors.
    pub fn of_any_program() -> Self {
        let own = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        let new_namespaces = libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET;
        let thread = libc::CLONE_THREAD.cast_unsigned();
        let flags = Argument::has(0, thread | new_namespaces.cast_unsigned(), thread);
        let to_tell_a_name = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_DUMPABLE, PR_SET_VMA];
        let calls = Calls { allowed: BTreeMap::new() }.and(ANY_PROGRAM);
        calls
            .and_where(libc::SYS_clone, &[&[flags]])
            .and_where(libc::SYS_setpriority, &[&[Argument::Is(0, 0), Argument::Is(1, 0)]])
            .and_one_of(libc::SYS_fcntl, 1, &FCNTL.map(libc::c_int::cast_unsigned))
            .and_where(libc::SYS_tgkill, &[&[Argument::Is(0, own)]])
            .and_where(libc::SYS_prlimit64, &[&[Argument::Is(0, 0)]])
            .and_one_of(libc::SYS_prctl, 0, &to_tell_a_name.map(libc::c_int::cast_unsigned))
    }

    /// These too, however they are called.
    #[must_use]
    pub fn and(mut self, calls: &[c_long]) -> Self {
        self.allowed.extend(calls.iter().map(|call| (*call, Vec::new())));
        self
    }

    /// This too, in any of these ways; all arguments of a way must fit.
    #[must_use]
    pub fn and_where(mut self, call: c_long, ways: &[&[Argument]]) -> Self {
        self.allowed.insert(call, ways.iter().map(|way| way.to_vec()).collect());
        self
    }

    /// This too, with one of these values at that place.
    #[must_use]
    pub fn and_one_of(mut self, call: c_long, at: u8, values: &[u32]) -> Self {
        self.allowed.insert(call, values.iter().map(|value| vec![Argument::Is(at, *value)]).collect());
        self
    }

    /// To look at files, and to open them in no other way than to read.
    #[must_use]
    pub fn and_reading(self) -> Self {
        let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
        let reads = |at| [Argument::has(at, writing.cast_unsigned(), 0)];
        let calls = self.and(READING).and_where(libc::SYS_openat, &[&reads(2)]);
        #[cfg(target_arch = "x86_64")]
        let calls = calls.and_where(libc::SYS_open, &[&reads(1)]);
        calls
    }

    /// To read files, and to make, write, rename and remove them.
    #[must_use]
    pub fn and_files(self) -> Self {
        self.and(READING).and(FILES)
    }

    /// What is done with sockets that are there.
    #[must_use]
    pub fn and_sockets(self) -> Self {
        self.and(SOCKETS)
    }

    /// Puts it in force. No call can be added any more, only taken away.
    pub fn enforce(&self) -> Result<(), ConfineError> {
        let deadly = NEVER.iter().filter(|call| !self.allowed.contains_key(call));
        let (deadly, absent) = (of_numbers(deadly), of_numbers(ABSENT.iter()));
        let mut allowed = self.allowed.clone();
        allowed.extend(absent.clone());
        // Of several filters the gravest answer counts. The last takes away what puts filters in force.
        put_in_force(&deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;
        put_in_force(&absent, SeccompAction::Allow, errno(libc::ENOSYS))?;
        put_in_force(&allowed, errno(libc::EPERM), SeccompAction::Allow)
    }

    /// That more may be taken away later, by [`take_away`].
    #[must_use]
    pub fn and_taking_away(self) -> Self {
        let filter_for_all =
            [Argument::Is(0, SECCOMP_SET_MODE_FILTER), Argument::Is(1, SECCOMP_FILTER_FLAG_TSYNC)];
        let mut calls = self.and_where(libc::SYS_seccomp, &[&filter_for_all]);
        let no_new_privileges =
            vec![Argument::Is(0, libc::PR_SET_NO_NEW_PRIVS.cast_unsigned()), Argument::Is(1, 1)];
        calls.allowed.entry(libc::SYS_prctl).or_default().push(no_new_privileges);
        calls
    }

    /// Puts in force, of all that this takes away, what only an intruder makes: for a process that starts others, which
    /// inherit it and are not held to its list.
    pub fn enforce_on_all_that_is_started(&self) -> Result<(), ConfineError> {
        let deadly = of_numbers(NEVER.iter().filter(|call| !self.allowed.contains_key(call)));
        put_in_force(&deadly, SeccompAction::Allow, SeccompAction::KillProcess)
    }
}

/// Takes these away from all threads, and that more can be taken away: they fail with `EPERM` from now on.
pub fn take_away(calls: &[c_long]) -> Result<(), ConfineError> {
    let failed = |error: seccompiler::Error| ConfineError::Calls(error.to_string());
    let gone = of_numbers(calls.iter().chain(&[libc::SYS_seccomp]));
    let program = program(&gone, SeccompAction::Allow, errno(libc::EPERM));
    apply_filter_all_threads(&program.map_err(|error| failed(error.into()))?).map_err(failed)
}

/// include/uapi/linux/seccomp.h.
const SECCOMP_SET_MODE_FILTER: u32 = 1;
const SECCOMP_FILTER_FLAG_TSYNC: u32 = 1;

/// include/uapi/linux/prctl.h: names of memory, which newer C libraries give.
const PR_SET_VMA: libc::c_int = 0x5356_4d41;

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

fn of_numbers<'a>(calls: impl Iterator<Item = &'a c_long>) -> BTreeMap<c_long, Vec<Vec<Argument>>> {
    calls.map(|call| (*call, Vec::new())).collect()
}

fn put_in_force(
    calls: &BTreeMap<c_long, Vec<Vec<Argument>>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<(), ConfineError> {
    let failed = |error: seccompiler::Error| ConfineError::Calls(error.to_string());
    let program = program(calls, others, these).map_err(|error| failed(error.into()))?;
    apply_filter(&program).map_err(failed)
}

fn program(
    calls: &BTreeMap<c_long, Vec<Vec<Argument>>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules = BTreeMap::new();
    for (call, ways) in calls {
        let ways: Result<Vec<SeccompRule>, _> = ways.iter().map(|way| rule(way)).collect();
        rules.insert(*call, ways?);
    }
    SeccompFilter::new(rules, others, these, architecture)?.try_into()
}

fn rule(way: &[Argument]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = way.iter().map(|argument| {
        let (at, operator, value) = match argument {
            Argument::Is(at, value) => (*at, SeccompCmpOp::Eq, *value),
            Argument::Has(at, bits) => (*at, SeccompCmpOp::MaskedEq(bits.mask.into()), bits.value),
        };
        SeccompCondition::new(at, SeccompCmpArgLen::Dword, operator, value.into())
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
