use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sys::bpf::CgroupAttach;

/// A place in the kernel where a program of ours is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Hook {
    /// Every open file of every task in one pass, or of one process alone.
    Files,
    /// Every table of descriptors of every task, in one pass (Linux 5.17).
    Tasks,
    /// A socket with connections begins to listen, or ends.
    StreamState,
    /// UDP: port 0 was asked for, over IPv4.
    AskedPort4,
    /// The same over IPv6.
    AskedPort6,
    /// UDP: a port was given, over IPv4.
    Bound4,
    /// The same over IPv6.
    Bound6,
    /// UDP: a bound socket is connected, over IPv4.
    Connected4,
    /// The same over IPv6.
    Connected6,
    /// A raw socket was made.
    RawCreated,
    /// A UDP or raw socket is closed.
    Released,
    /// UDP: a port was given, over IPv4; by a function of the kernel.
    FunctionBound4,
    /// The same over IPv6.
    FunctionBound6,
    /// A raw socket was made, over IPv4; by a function of the kernel.
    FunctionMade4,
    /// The same over IPv6.
    FunctionMade6,
    /// A UDP or raw socket is closed; by a function of the kernel.
    FunctionReleased,
    /// A process that holds a socket has a child.
    Forked,
    /// One executes another program.
    Executed,
    /// One ends.
    Exited,
}

/// How a program is loaded and attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attach {
    TaskFiles,
    Tasks,
    Tracepoint(&'static str),
    CgroupSocket(CgroupAttach),
    CgroupAddress(CgroupAttach),
    FunctionEntry(&'static str),
    FunctionExit(&'static str),
}

/// What the hooks of the cgroups tell, told by functions: only where one of those is refused.
pub(super) const INSTEAD_OF_CGROUPS: [Hook; 5] = [
    Hook::FunctionReleased,
    Hook::FunctionBound4,
    Hook::FunctionBound6,
    Hook::FunctionMade4,
    Hook::FunctionMade6,
];

impl Hook {
    /// What one look wants.
    pub(super) const ITERATORS: [Hook; 2] = [Hook::Files, Hook::Tasks];

    /// In the order in which they are attached: what notes something for another one comes first.
    pub(crate) const ALL: [Hook; 14] = [
        Hook::Files,
        Hook::Tasks,
        Hook::Released,
        Hook::AskedPort4,
        Hook::AskedPort6,
        Hook::Bound4,
        Hook::Bound6,
        Hook::Connected4,
        Hook::Connected6,
        Hook::RawCreated,
        Hook::Exited,
        Hook::Executed,
        Hook::Forked,
        Hook::StreamState,
    ];

    /// The function in `sensor/bpf/`.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Hook::Files => FILES_PROGRAM,
            Hook::Tasks => TASKS_PROGRAM,
            Hook::StreamState => "stream_state",
            Hook::AskedPort4 => "asked_port4",
            Hook::AskedPort6 => "asked_port6",
            Hook::Bound4 => "bound4",
            Hook::Bound6 => "bound6",
            Hook::Connected4 => "gains_peer4",
            Hook::Connected6 => "gains_peer6",
            Hook::RawCreated => "raw_created",
            Hook::Released => "released",
            Hook::FunctionBound4 => "function_bound4",
            Hook::FunctionBound6 => "function_bound6",
            Hook::FunctionMade4 => "function_made4",
            Hook::FunctionMade6 => "function_made6",
            Hook::FunctionReleased => "function_released",
            Hook::Forked => "process_forked",
            Hook::Executed => "process_executed",
            Hook::Exited => "process_exited",
        }
    }

    pub(super) const fn attach(self) -> Attach {
        match self {
            Hook::Files => Attach::TaskFiles,
            Hook::Tasks => Attach::Tasks,
            Hook::StreamState => Attach::Tracepoint("inet_sock_set_state"),
            Hook::AskedPort4 => Attach::CgroupAddress(CgroupAttach::Bind4),
            Hook::AskedPort6 => Attach::CgroupAddress(CgroupAttach::Bind6),
            Hook::Bound4 => Attach::CgroupSocket(CgroupAttach::PostBind4),
            Hook::Bound6 => Attach::CgroupSocket(CgroupAttach::PostBind6),
            Hook::Connected4 => Attach::CgroupAddress(CgroupAttach::Connect4),
            Hook::Connected6 => Attach::CgroupAddress(CgroupAttach::Connect6),
            Hook::RawCreated => Attach::CgroupSocket(CgroupAttach::SockCreate),
            Hook::Released => Attach::CgroupSocket(CgroupAttach::SockRelease),
            Hook::FunctionBound4 => Attach::FunctionExit("__inet_bind"),
            Hook::FunctionBound6 => Attach::FunctionExit("__inet6_bind"),
            Hook::FunctionMade4 => Attach::FunctionExit("inet_create"),
            Hook::FunctionMade6 => Attach::FunctionExit("inet6_create"),
            Hook::FunctionReleased => Attach::FunctionEntry("inet_release"),
            Hook::Forked => Attach::Tracepoint("sched_process_fork"),
            Hook::Executed => Attach::Tracepoint("sched_process_exec"),
            Hook::Exited => Attach::Tracepoint("sched_process_exit"),
        }
    }

    /// Whether somebody can detach it: a program of a cgroup.
    pub(crate) const fn is_of_cgroup(self) -> bool {
        matches!(self.attach(), Attach::CgroupSocket(_) | Attach::CgroupAddress(_))
    }

    /// As documentation of the kernel and of libbpf calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Hook::Files => "iter/task_file",
            Hook::Tasks => "iter/task",
            Hook::StreamState => "tp_btf/inet_sock_set_state",
            Hook::AskedPort4 => "cgroup/bind4",
            Hook::AskedPort6 => "cgroup/bind6",
            Hook::Bound4 => "cgroup/post_bind4",
            Hook::Bound6 => "cgroup/post_bind6",
            Hook::Connected4 => "cgroup/connect4",
            Hook::Connected6 => "cgroup/connect6",
            Hook::RawCreated => "cgroup/sock_create",
            Hook::Released => "cgroup/sock_release",
            Hook::FunctionBound4 => "fexit/__inet_bind",
            Hook::FunctionBound6 => "fexit/__inet6_bind",
            Hook::FunctionMade4 => "fexit/inet_create",
            Hook::FunctionMade6 => "fexit/inet6_create",
            Hook::FunctionReleased => "fentry/inet_release",
            Hook::Forked => "tp_btf/sched_process_fork",
            Hook::Executed => "tp_btf/sched_process_exec",
            Hook::Exited => "tp_btf/sched_process_exit",
        }
    }
}

/// The names of the iterators' programs, by which those that are loaded already are found. Raised with every change of
/// their records.
pub(super) const FILES_PROGRAM: &str = "portledger_f2";
pub(super) const TASKS_PROGRAM: &str = "portledger_t2";

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
