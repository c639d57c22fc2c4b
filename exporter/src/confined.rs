//! What is left to the exporter once it has given up root: docs/hardening.md has the same as tables.

use std::path::{Path, PathBuf};

use confine::{Argument, Bound, Calls, ConfineError, Reach};
use tracing::{info, warn};

use crate::alerting::Alerting;
use crate::identity::{Identity, Origin};
use crate::outbox::Exports;

/// What the exporter is left besides the folders that every program reads.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files and folders of configuration, baseline and trust.
    pub reads: Vec<PathBuf>,
    /// Folders in which it writes.
    pub writes: Vec<PathBuf>,
    /// TCP ports that it listens on; 0 is one that the kernel chooses.
    pub listens: Vec<u16>,
    /// The sensor is a process of the same ordinary user, who must see what this one holds.
    pub seen_by_user: bool,
}

/// What stands beneath these is there for every program: names of users, hosts and time zones, certificates of
/// authorities, and the libraries by which they are asked for.
const EVERYBODYS: [&str; 9] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/var/lib/sss",
];

/// Of the kernel: this process, and how many processors it may use.
const KERNELS: [&str; 4] = ["/proc/self", "/proc/stat", "/proc/sys/kernel/overflowuid", "/sys/fs/cgroup"];

/// Names are also asked for by TCP, where an answer is long.
const DNS: u16 = 53;

const MOST_DESCRIPTORS: u64 = 4_096;
/// Of the user it has become, in all containers that use the same number.
const MOST_THREADS: u64 = 1_024;
/// C libraries set aside much more than is used.
const MOST_ADDRESSES: u64 = 8 << 30;

/// Gives up for good all that `identity` does not need to serve, after [`crate::drop_to`] and before there is a second
/// thread. What an old kernel or a container does not have is logged; without a filter of system calls it fails.
pub fn confine(
    needs: Needs,
    (exports, alerting): (&Exports, &Alerting),
    identity: &Identity,
) -> Result<(), ConfineError> {
    confine::without_new_privileges()?;
    told(confine::without_dumps(!needs.seen_by_user));
    told(confine::bound(Bound::Descriptors, MOST_DESCRIPTORS));
    told(confine::bound(Bound::Addresses, MOST_ADDRESSES));
    if identity.origin() != Origin::Started {
        told(confine::bound(Bound::Threads, MOST_THREADS));
    }
    match confine::within(&reach(needs, exports, alerting)) {
        Ok(how_far) => info!("no file but its own can be opened: Landlock, {how_far}"),
        Err(error) => warn!(
            "{error}: whoever takes over this process reads what its user may read and connects where it likes; the \
             other bounds hold"
        ),
    }
    calls().enforce()
}

/// Once all doors are open: no further one is. A socket that nothing was bound to would otherwise listen on a port that the kernel
/// chooses.
pub(crate) fn open_no_more_doors() -> Result<(), ConfineError> {
    confine::take_away(&[libc::SYS_bind, libc::SYS_listen])
}

fn told(done: Result<(), ConfineError>) {
    if let Err(error) = done {
        warn!("this cannot be put in force: {error}");
    }
}

fn reach(needs: Needs, exports: &Exports, alerting: &Alerting) -> Reach {
    let mut reads: Vec<PathBuf> = EVERYBODYS.into_iter().chain(KERNELS).map(PathBuf::from).collect();
    reads.extend(
        needs.reads.iter().chain(&exports.files()).chain(&alerting.files()).flat_map(|path| places_of(path)),
    );
    let connects = exports.ports().chain(alerting.ports()).chain([DNS]).collect();
    Reach { reads, writes: needs.writes, listens: needs.listens, connects }
}

/// A file is replaced by another of its name, so the folder is read that it stands in, and the one that it leads to.
fn places_of(path: &Path) -> Vec<PathBuf> {
    let named = std::path::absolute(path).ok();
    let real = path.canonicalize().ok();
    let places = named.into_iter().chain(real).map(|path| match path.parent() {
        Some(folder) if !path.is_dir() && folder != Path::new("/") => folder.to_owned(),
        _ => path,
    });
    places.collect()
}

/// Of internet sockets, by type and protocol: Landlock's rules for ports are of TCP alone, and know neither MPTCP nor SCTP.
const TRANSPORTS: [(libc::c_int, libc::c_int); 4] = [
    (libc::SOCK_STREAM, 0),
    (libc::SOCK_STREAM, libc::IPPROTO_TCP),
    (libc::SOCK_DGRAM, 0),
    (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
];

/// include/linux/net.h: what else the type of a new socket tells are flags.
const SOCK_TYPE_MASK: u32 = 0xf;

/// What a terminal, a socket or a pipe is asked for.
const IOCTLS: [libc::Ioctl; 5] =
    [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX];

fn calls() -> Calls {
    let calls = Calls::of_any_program().and_files().and_sockets().and_taking_away().and(&[
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_memfd_create,
        libc::SYS_recvmmsg,
    ]);
    let unix = Argument::Is(0, libc::AF_UNIX.cast_unsigned());
    let mut sockets = vec![vec![unix]];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in TRANSPORTS {
            let kind = Argument::has(1, SOCK_TYPE_MASK, kind.cast_unsigned());
            let protocol = Argument::Is(2, protocol.cast_unsigned());
            sockets.push(vec![Argument::Is(0, family.cast_unsigned()), kind, protocol]);
        }
    }
    let sockets: Vec<&[Argument]> = sockets.iter().map(Vec::as_slice).collect();
    let connects_not = |at| [Argument::has(at, libc::MSG_FASTOPEN.cast_unsigned(), 0)];
    calls
        .and_where(libc::SYS_socket, &sockets)
        .and_where(libc::SYS_socketpair, &[&[unix]])
        .and_where(libc::SYS_sendto, &[&connects_not(3)])
        .and_where(libc::SYS_sendmsg, &[&connects_not(2)])
        .and_where(libc::SYS_sendmmsg, &[&connects_not(3)])
        .and_one_of(libc::SYS_ioctl, 1, &IOCTLS.map(|request| u32::try_from(request).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_file_is_read_and_never_all() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(above.join("real/inner")).unwrap();
        std::fs::write(above.join("real/file"), "").unwrap();
        std::os::unix::fs::symlink(above.join("real/file"), above.join("link")).unwrap();
        assert_eq!(places_of(&above.join("link")), [above.clone(), above.join("real")]);
        assert_eq!(
            places_of(&above.join("real/inner")),
            [above.join("real/inner"), above.join("real/inner")]
        );
        assert_eq!(places_of(&above.join("not/there")), [above.join("not")]);
        assert_eq!(places_of(Path::new("/baseline.toml")), [PathBuf::from("/baseline.toml")]);
    }
}
