//! Memory that the kernel writes into while we read it: the rings of BPF and of perf.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A shared mapping of a descriptor. Whatever is read of it may change at any time: words are loaded atomically, bytes
/// are copied out before they are looked at. Places outside of it read as nothing.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `length` bytes of the descriptor from `offset` on, both multiples of the page size.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub(crate) fn of(
        descriptor: BorrowedFd<'_>,
        length: usize,
        offset: u64,
        writable: bool,
    ) -> io::Result<Self> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: without an address wish the kernel chooses a place where nothing of ours is; the descriptor is open.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, descriptor.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Mapping { start, length, writable })
    }

    /// The word at `at`, a multiple of four; what was written before it was stored can be read afterwards.
    pub(crate) fn load_u32(&self, at: usize) -> Option<u32> {
        let place = self.word(at, 4)?.cast::<u32>();
        // SAFETY: `place` is aligned and inside the mapping, which lives as long as `self`; the kernel changes it as a
        // whole word.
        let word = unsafe { AtomicU32::from_ptr(place) };
        Some(word.load(Ordering::Acquire))
    }

    /// The word at `at`, a multiple of eight, as [`Mapping::load_u32`].
    pub(crate) fn load_u64(&self, at: usize) -> Option<u64> {
        let place = self.word(at, 8)?.cast::<u64>();
        // SAFETY: as in `load_u32`.
        let word = unsafe { AtomicU64::from_ptr(place) };
        Some(word.load(Ordering::Acquire))
    }

    /// Stores a word at `at`, a multiple of eight; the kernel sees all reads before it as done. Nothing happens where
    /// the mapping is not writable.
    pub(crate) fn store_u64(&self, at: usize, value: u64) {
        if let Some(place) = self.word(at, 8).filter(|_| self.writable) {
            // SAFETY: as in `load_u32`, and the mapping is writable.
            let word = unsafe { AtomicU64::from_ptr(place.cast()) };
            word.store(value, Ordering::Release);
        }
    }

    /// Appends `length` bytes from `at` on; `None`, and nothing appended, where they are not all inside.
    pub(crate) fn copy(&self, at: usize, length: usize, into: &mut Vec<u8>) -> Option<()> {
        let place = self.place(at, length)?;
        into.reserve(length);
        // SAFETY: `length` bytes from `place` on are inside the mapping, as many are reserved behind the end of `into`,
        // and a mapping overlaps no vector. The copy is of bytes, of which any value is valid.
        unsafe {
            ptr::copy_nonoverlapping(place, into.as_mut_ptr().add(into.len()), length);
            into.set_len(into.len() + length);
        }
        Some(())
    }

    fn word(&self, at: usize, size: usize) -> Option<*mut u8> {
        self.place(at, size).filter(|_| at.is_multiple_of(size))
    }

    fn place(&self, at: usize, size: usize) -> Option<*mut u8> {
        let fits = at.checked_add(size).is_some_and(|end| end <= self.length);
        // SAFETY: `at` is inside the mapping, or one past its end.
        fits.then(|| unsafe { self.start.as_ptr().add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: these are the start and the length that mmap gave; nothing borrows from the mapping any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
