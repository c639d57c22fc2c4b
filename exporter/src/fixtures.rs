//! A host for tests: one listener that nobody minds, and some that mean harm.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::Trust;
use inventory::{
    Container, Coverage, Endpoint, Gap, Holder, Holders, Inventory, Listener, NetNs, NetNsId, PortChoice,
    ProcessId, Program, ProgramFile, Protocol, RawText, Reach, Runtime, Scope, Share, Shares, SocketId,
    Unattributed, Workload,
};

/// 2026-11-21T09:00:00Z.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600)
}

/// Nothing has to be signed.
pub(crate) fn everybody() -> Trust {
    Trust::in_everybody(jiff::tz::TimeZone::UTC)
}

pub(crate) const TOOK: Duration = Duration::from_millis(12);
/// Everything that has ever fooled a parser of names.
pub(crate) const HOSTILE: &[u8] = b"/tmp/a\",pid=1)\nportledger_drift 0 #\x1b[2J\r</script><b>'\xff\\";

pub(crate) fn inventory(listeners: Vec<Listener>) -> Inventory {
    let all = Share { seen: 4, of: 4 };
    let shares = Shares {
        sockets: all,
        holders: Share { seen: 3, of: 4 },
        namespaces: all,
        addresses: all,
        events: Share { seen: 0, of: 1 },
    };
    let gap = Gap {
        collector: "procfs".to_owned(),
        scope: Scope::Holders,
        protocol: None,
        netns: None,
        reason: RawText::new(*b"a process\n cannot be read"),
    };
    let coverage = Coverage { gaps: vec![gap], shares, events: inventory::EventSource::Polls };
    let listeners = listeners.into_iter().map(Arc::new).collect();
    Inventory { host: RawText::from("web-1"), taken_at: now(), listeners, coverage }
}

/// The listeners of [`inventory`] in most tests.
pub(crate) fn listeners() -> Vec<Listener> {
    let sshd = listener(
        1,
        Protocol::Tcp,
        Ipv4Addr::UNSPECIFIED,
        22,
        Holders::Known(vec![holder(b"/usr/sbin/sshd")]),
    );
    let hostile = Listener {
        netns: NetNs { name: RawText::new(HOSTILE), ..NetNs::anonymous(NetNsId::Cookie(9)) },
        ..listener(2, Protocol::Tcp, Ipv6Addr::UNSPECIFIED, 4444, Holders::Known(vec![holder(HOSTILE)]))
    };
    let kernel =
        listener(3, Protocol::Udp, Ipv4Addr::UNSPECIFIED, 51820, Holders::Unattributed(Unattributed::Kernel));
    let connected = Listener {
        peer: Some((Ipv4Addr::new(192, 0, 2, 1), 53).into()),
        ..listener(4, Protocol::Udp, Ipv4Addr::LOCALHOST, 5353, Holders::Known(vec![holder(b"/usr/bin/dig")]))
    };
    vec![sshd, hostile, kernel, connected]
}

pub(crate) fn listener(
    cookie: u64,
    protocol: Protocol,
    address: impl Into<IpAddr>,
    port: u16,
    holders: Holders,
) -> Listener {
    let netns = NetNsId::Cookie(1);
    Listener {
        id: SocketId { netns, cookie, inode: cookie + 100 },
        endpoint: Endpoint { protocol, address: address.into(), port, device: None },
        netns: NetNs::host(netns),
        uid: 0,
        ipv6_only: None,
        reuse_port: Some(false),
        backlog: (protocol == Protocol::Tcp).then_some(128),
        holders,
        reach: Reach::Public,
        port_choice: PortChoice::Unknown { ephemeral: false },
        peer: None,
        published: Vec::new(),
        since: Some(now()),
    }
}

pub(crate) fn holder(program: &[u8]) -> Arc<Holder> {
    let container = Container {
        runtime: Runtime::Docker,
        id: "0".repeat(64),
        name: Some(RawText::new(HOSTILE)),
        image: Some(RawText::from("nginx:1")),
        service: None,
    };
    Arc::new(Holder {
        id: ProcessId { pid: 700, start_ticks: 7 },
        started_at: now(),
        program: Some(Program {
            path: RawText::new(program),
            file: ProgramFile::Host,
            sha256: Some([0xab; 32]),
        }),
        name: RawText::new(program.get(..15).unwrap_or(program)),
        arguments: vec![RawText::new(program), RawText::from("-D")],
        uid: 0,
        workload: match program {
            HOSTILE => Workload::Container(container),
            _ => Workload::Unit(RawText::from("ssh.service")),
        },
        parents: Vec::new(),
    })
}

/// Compares with a file of tests/golden; with `GOLDEN=write` in the environment it writes the file.
#[cfg(test)]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (found, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "{name}:{}, a public interface; GOLDEN=write writes it anew", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{name}");
}
