use std::io;

use rustix::thread::{CapabilitySet, capabilities};

/// A capability that the sensor uses, and what is not seen without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// As capabilities(7) names it.
    pub name: &'static str,
    /// Whether this process has it in its effective set.
    pub held: bool,
    /// What its absence costs.
    pub without: &'static str,
}

const USED: [(CapabilitySet, &str, &str); 6] = [
    (
        CapabilitySet::DAC_READ_SEARCH,
        "CAP_DAC_READ_SEARCH",
        "the descriptors of other users' processes cannot be listed: their sockets have no holder",
    ),
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "what the descriptors and the program of other users' processes are cannot be read: their sockets have no holder",
    ),
    (
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "other network namespaces cannot be entered: listeners of containers are not seen",
    ),
    (
        CapabilitySet::NET_ADMIN,
        "CAP_NET_ADMIN",
        "network namespaces in which no process lives are not found by the sockets that are left of them, and opens of UDP \
         and raw sockets are polled for",
    ),
    (
        CapabilitySet::BPF,
        "CAP_BPF",
        "opens and closes are polled for, and looking for holders takes longer the more descriptors there are",
    ),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "the same"),
];

/// What a look and its events use, and of that what only loading does where the kernel is no older than 5.19.
pub(crate) fn used() -> (CapabilitySet, CapabilitySet) {
    let all = USED.into_iter().fold(CapabilitySet::empty(), |all, (capability, ..)| all | capability);
    (all, CapabilitySet::BPF | CapabilitySet::PERFMON)
}

/// What the sensor uses, held or not.
pub fn privileges() -> io::Result<Vec<Privilege>> {
    let effective = capabilities(None)?.effective;
    let privilege =
        |(capability, name, without)| Privilege { name, held: effective.contains(capability), without };
    Ok(USED.map(privilege).to_vec())
}

/// How to see what was refused: more privileges, where there are more to have.
pub(crate) fn cure() -> String {
    let used = privileges().unwrap_or_default();
    let lacking: Vec<&str> =
        used.iter().filter(|privilege| !privilege.held).map(|privilege| privilege.name).collect();
    if lacking.is_empty() {
        "no privilege is lacking, so a security module, or a sandbox around us, keeps them to itself"
            .to_owned()
    } else {
        needs(rustix::process::geteuid().is_root(), &lacking)
    }
}

fn needs(is_root: bool, lacking: &[&str]) -> String {
    let lacking = lacking.join(", ");
    match is_root {
        true => {
            format!("this is root without {lacking}: the container or unit that it runs in has to give them")
        }
        false => format!("run as root, or with {lacking}"),
    }
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn root_is_not_told_to_be_root() {
        assert_eq!(needs(false, &["CAP_BPF", "CAP_PERFMON"]), "run as root, or with CAP_BPF, CAP_PERFMON");
        assert!(needs(true, &["CAP_BPF"]).starts_with("this is root without CAP_BPF: "));
    }
}
