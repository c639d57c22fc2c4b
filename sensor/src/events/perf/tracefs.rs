//! What tracefs says of a tracepoint: its id, and where each field stands in a record of it.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::Refusal;

const FORMAT: &str = "events/sock/inet_sock_set_state/format";
const MOUNTED: &str = "/sys/kernel/tracing";
const OUR_OWN: &str = "tracefs of our own (fsopen, with CAP_SYS_ADMIN)";
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// The file has some 3 KB.
const LONGEST: u64 = 65_536;

/// The text of the tracepoint's format file.
pub(super) fn read_format() -> Result<String, Refusal> {
    let (place, folder) = tracefs()?;
    let refused = |error: io::Error| Refusal(format!("{place}/{FORMAT}: {error}"));
    let file = open(folder.as_fd(), FORMAT, OFlags::RDONLY).map_err(|errno| refused(errno.into()))?;
    let mut text = String::new();
    File::from(file).take(LONGEST).read_to_string(&mut text).map_err(refused)?;
    Ok(text)
}

/// tracefs and what to call it: where it is mounted, else one of our own that is mounted nowhere. The folder in debugfs
/// comes last since looking into it makes the kernel mount tracefs there and leave it.
fn tracefs() -> Result<(&'static str, OwnedFd), Refusal> {
    let mut refused = Vec::new();
    for place in [MOUNTED, OUR_OWN, IN_DEBUGFS] {
        let folder = if place == OUR_OWN { unmounted() } else { mounted(place) };
        match folder {
            Ok(folder) => return Ok((place, folder)),
            Err(errno) => refused.push(format!("{place}: {errno}")),
        }
    }
    Err(Refusal(format!("no tracefs to read the tracepoint's format from: {}", refused.join("; "))))
}

/// An empty folder is what stands there where nothing is mounted.
fn mounted(path: &str) -> Result<OwnedFd, Errno> {
    let folder = open(CWD, path, OFlags::PATH | OFlags::DIRECTORY)?;
    open(folder.as_fd(), "events", OFlags::PATH | OFlags::DIRECTORY)?;
    Ok(folder)
}

/// Since Linux 5.2, with CAP_SYS_ADMIN. It goes away with the descriptor.
fn unmounted() -> Result<OwnedFd, Errno> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn open(folder: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(folder, path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// The tracepoint's id, and the fields of its records that are of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) id: u64,
    pub(super) socket: Field,
    pub(super) new_state: Field,
    pub(super) port: Field,
    pub(super) family: Field,
    pub(super) protocol: Field,
    pub(super) v4: Field,
    pub(super) v6: Field,
}

/// Where a field stands in a record, in bytes. Both differ between kernels: `protocol` had one byte before Linux 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) size: usize,
}

impl Format {
    /// From the text of the format file.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID:")?.trim().parse().ok());
        Ok(Format {
            id: id.ok_or_else(|| misfit("no ID"))?,
            socket: Field::find(text, "skaddr", &[4, 8])?,
            new_state: Field::find(text, "newstate", &[4])?,
            port: Field::find(text, "sport", &[2])?,
            family: Field::find(text, "family", &[2])?,
            protocol: Field::find(text, "protocol", &[1, 2])?,
            v4: Field::find(text, "saddr", &[4])?,
            v6: Field::find(text, "saddr_v6", &[16])?,
        })
    }
}

impl Field {
    fn find(text: &str, name: &str, sizes: &[usize]) -> Result<Self, Refusal> {
        let field = text.lines().find_map(|line| Field::called(name, line));
        field
            .filter(|field| sizes.contains(&field.size))
            .ok_or_else(|| misfit(format_args!("no field {name} of {sizes:?} bytes")))
    }

    /// A line reads `field:__u8 saddr[4]; offset:32; size:4; signed:0;`, with tabs.
    fn called(name: &str, line: &str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let declared = parts.next()?.strip_prefix("field:")?;
        let last = declared.rsplit([' ', '*']).next()?;
        if last.split('[').next() != Some(name) {
            return None;
        }
        let at = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        let size = parts.next()?.strip_prefix("size:")?.parse().ok()?;
        Some(Field { at, size })
    }

    /// The number that stands there, in the machine's order of bytes.
    pub(super) fn number(self, record: &[u8]) -> Option<u64> {
        let bytes = self.bytes(record)?;
        Some(match self.size {
            1 => u64::from(*bytes.first()?),
            2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
            4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
            _ => u64::from_ne_bytes(bytes.try_into().ok()?),
        })
    }

    /// The address that stands there, in the network's order of bytes.
    pub(super) fn address(self, record: &[u8]) -> Option<IpAddr> {
        let bytes = self.bytes(record)?;
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            return Some(Ipv4Addr::from(four).into());
        }
        <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
    }

    fn bytes(self, record: &[u8]) -> Option<&[u8]> {
        record.get(self.at..self.at.checked_add(self.size)?)
    }
}

fn misfit(what: impl Display) -> Refusal {
    Refusal(format!("the format of sock:inet_sock_set_state is not one that is understood: {what}"))
}
