use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::walk::numbered;
use crate::process::errno_of;

/// What the descriptor of an io_uring(7) is called.
pub(super) const LINK: &[u8] = b"anon_inode:[io_uring]";

/// A ring has at most 2^20 registered files, and a line of 40 bytes for each socket.
const INFO_BYTES: u64 = 64 << 20;

/// A ring that is at work does not show its files: it is asked so often.
const TRIES: u32 = 4;
const BETWEEN: Duration = Duration::from_millis(1);

/// Every socket among the registered files of a ring, out of its fdinfo: `__io_uring_show_fdinfo` of
/// io_uring/fdinfo.c writes `%5u: ` and the path of each, with blanks in it escaped.
///
/// # Errors
/// `EBUSY` where the ring is at work each time.
pub(super) fn each_socket(owner: BorrowedFd<'_>, fd: u32, mut each: impl FnMut(u64)) -> Result<(), Errno> {
    let path = format!("fdinfo/{fd}");
    for turn in 0..TRIES {
        if turn > 0 {
            std::thread::sleep(BETWEEN);
        }
        let info = openat(owner, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let info = BufReader::new(File::from(info).take(INFO_BYTES));
        if sockets_in(info, &mut each).map_err(|error| errno_of(&error))? {
            return Ok(());
        }
    }
    Err(Errno::BUSY)
}

/// Whether the files were shown: the kernel leaves them out where it cannot have the ring's lock at once.
fn sockets_in(mut info: impl BufRead, mut each: impl FnMut(u64)) -> std::io::Result<bool> {
    let mut line = Vec::new();
    let (mut in_files, mut shown) = (false, false);
    loop {
        line.clear();
        if info.read_until(b'\n', &mut line)? == 0 {
            return Ok(shown);
        }
        if !line.starts_with(b" ") && !line.first().is_some_and(u8::is_ascii_digit) {
            in_files = line.starts_with(b"UserFiles:");
            shown |= in_files;
        } else if in_files && let Some(inode) = socket_of(line.trim_ascii()) {
            each(inode);
        }
    }
}

/// `    3: socket:[1234]`
fn socket_of(line: &[u8]) -> Option<u64> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (slot, path) = (&line[..colon], &line[colon + 1..]);
    slot.iter().all(u8::is_ascii_digit).then(|| numbered(path.trim_ascii(), b"socket:["))?
}

/// The fdinfo of a descriptor.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    let mut sockets = 0;
    let shown = sockets_in(bytes, |_| sockets += 1);
    assert!(shown.is_ok_and(|shown| shown || sockets == 0), "only what is shown has sockets");
    assert!(sockets * b"0:socket:[0]".len() <= bytes.len());
}

#[cfg(test)]
mod tests {
    use super::sockets_in;

    fn found(info: &[u8]) -> Vec<u64> {
        let mut found = Vec::new();
        assert!(sockets_in(info, |inode| found.push(inode)).unwrap(), "its files are shown");
        found
    }

    #[test]
    fn a_ring_at_work_shows_no_files() {
        let shows_files = |info: &[u8]| sockets_in(info, |_| panic!("it shows none")).unwrap();
        assert!(shows_files(b"SqThread:\t-1\nUserFiles:\t0\nUserBufs:\t0\nPollList:\n"));
        assert!(!shows_files(b"SqThread:\t-1\nPollList:\n"));
    }

    #[test]
    fn finds_registered_sockets_and_nothing_that_looks_like_one() {
        // As Linux 6.18 writes it, shortened.
        let info = b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1055\nSqMask:\t0x7\nSQEs:\t0\nCQEs:\t0\n\
            SqThread:\t-1\nUserFiles:\t4\n    0: socket:[4711]\n    1: /tmp/socket:[1]\n    2: pipe:[2]\n   \
            12: socket:[18446744073709551615]\nUserBufs:\t1\n    0: socket:[3]\n";
        assert_eq!(found(info), [4711, u64::MAX]);
        assert_eq!(found(b"UserFiles:\t1\n    0: socket:[]\n    x: socket:[1]\n 1: socket:[1\n"), [0_u64; 0]);
    }
}
