use serde::{Deserialize, Serialize};

use crate::RawText;

/// What started a process and would start it again, read from its cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Workload {
    /// A systemd unit: `ssh.service`, `ssh.socket`; of a user's manager `user@1000.service/foo.service`, so that no user
    /// can take the name of a unit of the system.
    Unit(RawText),
    /// A container.
    Container(Container),
    /// A login session.
    Session(Session),
    /// None of these.
    None,
}

/// A container, named by what outlives its redeployment where a state file tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Container {
    /// What runs it.
    pub runtime: Runtime,
    /// 64 hexadecimal digits, another at each redeployment: never part of an identity.
    pub id: String,
    /// Stable name; for a pod `NAMESPACE/POD/CONTAINER`, with what a ReplicaSet adds at random cut off. `None`
    /// where no state file told it.
    pub name: Option<RawText>,
    /// The image as it was asked for.
    pub image: Option<RawText>,
    /// The compose service, or the Kubernetes `NAMESPACE/WORKLOAD`.
    pub service: Option<RawText>,
}

/// Which runtime's naming the cgroup follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Runtime {
    Docker,
    Podman,
    Containerd,
    Crio,
}

impl Runtime {
    /// The word used in files and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
            Runtime::Containerd => "containerd",
            Runtime::Crio => "cri-o",
        }
    }
}

/// A login session of systemd-logind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// Logind's name of it, another at each login: never part of an identity.
    pub id: RawText,
    /// The user's numeric id.
    pub uid: u32,
    /// Remote host, or the terminal of a local login.
    pub from: Option<RawText>,
}

impl Workload {
    /// The word for what sort of workload this is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Workload::Unit(_) => "unit",
            Workload::Container(_) => "container",
            Workload::Session(_) => "session",
            Workload::None => "none",
        }
    }

    /// The name that is the same after a restart and on another host; `None` where there is none.
    pub fn stable_name(&self) -> Option<RawText> {
        match self {
            Workload::Unit(name) => Some(name.clone()),
            Workload::Container(container) => container.name.clone(),
            Workload::Session(session) => Some(RawText::from(format!("session of {}", session.uid).as_str())),
            Workload::None => None,
        }
    }
}
