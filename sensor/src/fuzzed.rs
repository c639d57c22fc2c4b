//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
//! Interfaces and addresses are not among it: getifaddrs(3) is read by pnet_datalink, and of rtnetlink(7) nothing but that
//! something came.

pub use crate::bpf::fuzzed as bpf;
pub use crate::events::perf::fuzzed as perf;
pub use crate::holders::fuzzed as fdinfo;
pub use crate::namespaces::fuzzed as mountinfo;
pub use crate::proc_net::fuzzed as proc_net;
pub use crate::process::fuzzed as process;
pub use crate::protocols::fuzzed as protocols;
pub use crate::sock_diag::fuzzed as netlink;
pub use crate::workload::fuzzed as workload;

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] = &[
    ("sensor_netlink", netlink),
    ("sensor_proc_net", proc_net),
    ("sensor_protocols", protocols),
    ("sensor_process", process),
    ("sensor_fdinfo", fdinfo),
    ("sensor_mountinfo", mountinfo),
    ("sensor_workload", workload),
    ("sensor_bpf", bpf),
    ("sensor_perf", perf),
];

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 3_000);
}
