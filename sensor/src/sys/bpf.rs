//! The commands of bpf(2) that are used beside those of the loading library.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_errno;

/// enum bpf_cmd of include/uapi/linux/bpf.h.
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const LINK_CREATE: libc::c_long = 28;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;
const ITER_CREATE: libc::c_long = 33;
const PROG_GET_FD_BY_ID: libc::c_long = 13;

/// Where a program of a cgroup is attached (enum bpf_attach_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CgroupAttach {
    SockCreate = 2,
    Bind4 = 8,
    Bind6 = 9,
    Connect4 = 10,
    Connect6 = 11,
    PostBind4 = 12,
    PostBind6 = 13,
    SockRelease = 34,
}

const TRACE_ITER: u32 = 28;

/// The processes whose files an iterator tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Everybodys,
    /// Those of one process, all its threads (Linux 6.1). It is one as our pid namespace counts.
    Process(u32),
}

#[repr(C)]
#[derive(Default)]
struct Attributes {
    words: [u32; 24],
}

impl Attributes {
    fn set(mut self, at: usize, word: u32) -> Self {
        self.words[at] = word;
        self
    }

    /// A pointer at an even place.
    fn point<T: ?Sized>(mut self, at: usize, to: *const T) -> Self {
        let address = to.cast::<()>() as u64;
        let bytes = address.to_ne_bytes();
        for (half, word) in bytes.chunks_exact(4).zip(&mut self.words[at..at + 2]) {
            *word = u32::from_ne_bytes([half[0], half[1], half[2], half[3]]);
        }
        self
    }
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Whatever `attributes` points to must be what this command reads or writes there.
unsafe fn bpf(command: libc::c_long, attributes: &mut Attributes) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes at most the size given; what the attributes point to the caller answers for.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<Attributes>())
    };
    if answer < 0 { Err(last_errno()) } else { Ok(answer) }
}

/// Of a command that points to nothing and answers with a new descriptor.
fn open(command: libc::c_long, mut attributes: Attributes) -> Result<OwnedFd, Errno> {
    // SAFETY: the callers set no pointer.
    let descriptor = unsafe { bpf(command, &mut attributes) }?;
    let descriptor = libc::c_int::try_from(descriptor).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the kernel has just opened this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Attaches a program to a cgroup, beside others.
pub(crate) fn attach_to_cgroup(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    place: CgroupAttach,
) -> Result<OwnedFd, Errno> {
    open(LINK_CREATE, Attributes::default().set(0, raw(program)).set(1, raw(cgroup)).set(2, place as u32))
}

/// Attaches a program to the tracepoint, or the function, that it was loaded for.
pub(crate) fn attach_trace(program: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    open(RAW_TRACEPOINT_OPEN, Attributes::default().set(2, raw(program)))
}

/// Makes an iterator of a program over files of tasks.
pub(crate) fn attach_iterator(program: BorrowedFd<'_>, whose: Whose) -> Result<OwnedFd, Errno> {
    // struct { cgroup_fd / map_fd / task.tid, task.pid, task.pid_fd }
    let mut scope = [0_u32; 4];
    let mut attributes = Attributes::default().set(0, raw(program)).set(2, TRACE_ITER);
    if let Whose::Process(pid) = whose {
        scope[1] = pid;
        attributes = attributes.point(4, scope.as_ptr()).set(6, 16);
    }
    // SAFETY: where `iter_info` is set it points to as many bytes as told, which outlive the call.
    let descriptor = unsafe { bpf(LINK_CREATE, &mut attributes) }?;
    let descriptor = libc::c_int::try_from(descriptor).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes a program off where it is attached, while others still hold the link.
#[cfg(test)]
pub(crate) fn detach(link: BorrowedFd<'_>) -> Result<(), Errno> {
    const LINK_DETACH: libc::c_long = 34;
    let mut attributes = Attributes::default().set(0, raw(link));
    // SAFETY: this command points to nothing.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
}

/// Begins a pass of an iterator: what is read of the descriptor is what its program writes.
pub(crate) fn iterate(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    open(ITER_CREATE, Attributes::default().set(0, raw(link)))
}

/// Puts a key into a hash map whose values are one byte each.
pub(crate) fn put_key(map: BorrowedFd<'_>, key: &[u8]) -> Result<(), Errno> {
    let value = 1_u8;
    let mut attributes =
        Attributes::default().set(0, raw(map)).point(2, key.as_ptr()).point(4, &raw const value);
    // SAFETY: the callers' maps have keys as long as theirs and values of one byte; both outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Takes a key out of a map; one that is not in it is no error.
pub(crate) fn remove_key(map: BorrowedFd<'_>, key: &[u8]) -> Result<(), Errno> {
    let mut attributes = Attributes::default().set(0, raw(map)).point(2, key.as_ptr());
    // SAFETY: as in `put_key`.
    match unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) } {
        Err(Errno::NOENT) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The key after this one in a map; the first after none.
pub(crate) fn next_key<const SIZE: usize>(
    map: BorrowedFd<'_>,
    after: Option<[u8; SIZE]>,
) -> Result<Option<[u8; SIZE]>, Errno> {
    let mut next = [0; SIZE];
    let mut attributes = Attributes::default().set(0, raw(map)).point(4, next.as_mut_ptr());
    if let Some(after) = &after {
        attributes = attributes.point(2, after.as_ptr());
    }
    // SAFETY: the callers' maps have keys of this size; both places outlive the call, and the second is writable.
    match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attributes) } {
        Ok(_) => Ok(Some(next)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A link that some process holds, as the kernel tells it (struct bpf_link_info).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    pub(crate) kind: u32,
    pub(crate) program: u32,
    /// Of a link to a cgroup: 0 once it is detached.
    pub(crate) cgroup: u64,
}

/// BPF_LINK_TYPE_ITER.
pub(crate) const ITERATOR: u32 = 4;

pub(crate) fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo, Errno> {
    let info: [u32; 16] = info(link)?;
    let [kind, _, program, _, low, high, ..] = info;
    let halves = [low.to_ne_bytes(), high.to_ne_bytes()].concat();
    let cgroup = halves.try_into().map_or(0, u64::from_ne_bytes);
    Ok(LinkInfo { kind, program, cgroup })
}

/// The name of a program (struct bpf_prog_info), at most 15 bytes.
pub(crate) fn program_name(program: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let info: [u32; 20] = info(program)?;
    let name = info[16..].iter().flat_map(|word| word.to_ne_bytes());
    Ok(name.take_while(|byte| *byte != 0).collect())
}

fn info<const WORDS: usize>(object: BorrowedFd<'_>) -> Result<[u32; WORDS], Errno> {
    let mut info = [0_u32; WORDS];
    let size = u32::try_from(size_of::<[u32; WORDS]>()).map_err(|_| Errno::OVERFLOW)?;
    let mut attributes =
        Attributes::default().set(0, raw(object)).set(1, size).point(2, info.as_mut_ptr().cast_const());
    // SAFETY: the kernel writes at most as many bytes as `info` has.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

/// The id of the link after this one, of all that there are on this machine; wants CAP_SYS_ADMIN.
pub(crate) fn next_link(after: u32) -> Result<Option<u32>, Errno> {
    let mut attributes = Attributes::default().set(0, after);
    // SAFETY: this command points to nothing and answers in the attributes.
    match unsafe { bpf(LINK_GET_NEXT_ID, &mut attributes) } {
        Ok(_) => Ok(Some(attributes.words[1])),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The link with this id.
pub(crate) fn link_by_id(id: u32) -> Result<OwnedFd, Errno> {
    open(LINK_GET_FD_BY_ID, Attributes::default().set(0, id))
}

/// The program with this id.
pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    open(PROG_GET_FD_BY_ID, Attributes::default().set(0, id))
}
